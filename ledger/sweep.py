"""Housekeeping: expiry, purge, and finding executions whose worker is gone.

None of it is needed for correctness: a claim looks at the expiry by itself, and a delivery takes
over from a dead worker by itself. This keeps the table small, and reports what no delivery will
find.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from . import store
from .conf import setting
from .evidence.sealing import seal
from .models import State, TaskExecution

logger = logging.getLogger("ledger")

TALLY_BATCH = 50_000
"""Rows counted in one transaction, which takes well under a second."""

PATIENCE = dt.timedelta(seconds=1)
"""How long transactions that are writing to the ledger may take to end; else what they leave is
counted and sealed by the next sweep."""

RECOVERY_GRACE = dt.timedelta(seconds=5)
"""A running row younger than this may be between its claim and its lock."""


def sweep(database: str = DEFAULT_DB_ALIAS) -> dict[str, int]:
    """Retire what has expired, count and seal what became history, and purge what is past its
    retention; returns how many were retired and purged.

    Works in batches with SKIP LOCKED: several sweeps at once share the work, but only one of them
    counts, seals or purges at a time.
    """
    connection = connections[database]
    batch = setting("SWEEP_BATCH")
    retention = dt.timedelta(days=setting("RETENTION_DAYS"))
    retired = _all_batches(lambda: store.retire_expired(connection, batch), batch)
    settled = store.settled(connection, PATIENCE)
    tally(connection, settled)
    seal(connection, settled, batch)
    purged = _all_batches(lambda: store.purge(connection, retention, batch), batch)
    return {"retired": retired, "purged": purged}


def tally(connection: BaseDatabaseWrapper, settled: list[int]) -> None:
    """Count what has happened, up to settled ids, so that figures need not."""
    executions, events, _ = settled
    while store.tally_on(connection, TALLY_BATCH, executions, events):
        pass


def _all_batches(one_batch: Callable[[], int], size: int) -> int:
    total = 0
    while True:
        done = one_batch()
        total += done
        if done < size:
            return total


def recover(
    database: str = DEFAULT_DB_ALIAS, *, actor: str = "", grace: dt.timedelta = RECOVERY_GRACE
) -> list[str]:
    """Record running executions whose worker is gone as failed; returns their keys.

    Their message died with the worker, or was acknowledged (a hard time limit), so no delivery will
    take them over. They may run again: publish them again, or find out why not.
    """
    connection = connections[database]
    running = (
        TaskExecution.objects.using(database)
        .filter(state=State.RUNNING, completed_at=None, retired_at=None)
        .extra(where=["started_at < ledger_now() - %s"], params=[grace])
        .order_by("started_at")
        .values_list("key", "id", "attempt")
    )
    abandoned = []
    for key, id, attempt in running.iterator():
        if store.abandon(connection, key, id, attempt, actor):
            abandoned.append(key)
            logger.error(
                "%s: attempt %d has no worker any more; nothing will run it again by itself",
                key,
                attempt,
                extra={"ledger_key": key, "ledger_attempt": attempt, "ledger_outcome": "abandoned"},
            )
    return abandoned
