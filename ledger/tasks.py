"""Tasks for the beat schedule. Both are safe to run twice, and several at once."""

from __future__ import annotations

from celery import shared_task
from django.db import DEFAULT_DB_ALIAS

from . import sweep as sweeping


@shared_task(name="ledger.tasks.sweep")
def sweep(database: str = DEFAULT_DB_ALIAS) -> dict[str, int]:
    """Retire expired executions, purge old history. Returns ``{"retired": n, "purged": n}``."""
    return sweeping.sweep(database)


@shared_task(name="ledger.tasks.recover")
def recover(database: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Record executions whose worker is gone. Returns their keys."""
    return sweeping.recover(database, actor="ledger.tasks.recover")
