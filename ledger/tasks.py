"""Tasks for the beat schedule. All are safe to run twice, and several at once."""

from __future__ import annotations

from celery import shared_task
from django.db import DEFAULT_DB_ALIAS

from . import non_idempotent, outbox
from . import sweep as sweeping


@shared_task(name="ledger.tasks.sweep")
@non_idempotent("several may sweep at once; each row is retired and purged by one of them")
def sweep(database: str = DEFAULT_DB_ALIAS) -> dict[str, int]:
    """Retire expired executions, purge old history. Returns ``{"retired": n, "purged": n}``."""
    return sweeping.sweep(database)


@shared_task(name="ledger.tasks.recover")
@non_idempotent("several may look at once; each dead worker is recorded by one of them")
def recover(database: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Record executions whose worker is gone. Returns their keys."""
    return sweeping.recover(database, actor="ledger.tasks.recover")


@shared_task(name="ledger.tasks.relay")
@non_idempotent("each message is published by the one that holds its row, with a fixed task id")
def relay(database: str = DEFAULT_DB_ALIAS) -> int:
    """Publish follow-ups that a crash left behind. Returns how many."""
    return outbox.relay(database)
