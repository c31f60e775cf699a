"""The figures of one ledger at one moment, read from its database: the same for every process.

What they cost does not grow with the history: ``sql/figures.sql`` says how. Read them from the
primary: a standby does not know who holds a run lock there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from .conf import setting
from .sweep import RECOVERY_GRACE

PATIENCE = "10s"
"""Who asks for figures must not wait for ever behind somebody's lock on a table."""


@dataclass(frozen=True)
class Open:
    """A task's executions that have neither completed nor been retired."""

    running: int = 0
    failed: int = 0
    held: int = 0
    stuck: int = 0
    """Those of the running ones that have no worker any more."""
    oldest_running: float = 0.0
    """Seconds since its attempt began."""
    crashes: int = 0
    """Workers lost in a row, by the one that lost the most."""


@dataclass(frozen=True)
class Figures:
    totals: Mapping[tuple[str, str], int]
    """By task and outcome, ever: ``completed`` executions, and events by their kind."""
    open: Mapping[str, Open]
    """By task; only those that have some."""
    live: int
    """Executions whose duplicates would be recognised; beyond 10,000 an estimate."""
    history: int
    """Retired executions; beyond 10,000 an estimate."""
    unpublished: int
    """Follow-ups not yet published, counted up to 10,001."""
    sweep_lag: float
    """Seconds that the longest overdue execution should have been retired or purged ago."""
    outbox_lag: float
    """Seconds that the oldest unpublished follow-up has waited."""

    @property
    def tasks(self) -> list[str]:
        return sorted({task for task, _ in self.totals} | set(self.open))

    def total(self, task: str, outcome: str) -> int:
        return self.totals.get((task, outcome), 0)


def read(database: str = DEFAULT_DB_ALIAS) -> Figures:
    """Raises Django's ``DatabaseError`` where the ledger does not answer within ``PATIENCE``."""
    grace: Any = RECOVERY_GRACE
    retention: Any = dt.timedelta(days=setting("RETENTION_DAYS"))
    with transaction.atomic(using=database), connections[database].cursor() as cursor:
        cursor.execute("select set_config('statement_timeout', %s, true)", [PATIENCE])
        cursor.execute("select * from ledger_totals()")
        totals = {(task, outcome): total for task, outcome, total in cursor.fetchall()}
        cursor.execute("select * from ledger_open_figures(%s)", [grace])
        by_task = {task: Open(*counted) for task, *counted in cursor.fetchall()}
        cursor.execute(
            "select live, history, unpublished, sweep_lag, outbox_lag from ledger_backlog(%s)",
            [retention],
        )
        return Figures(totals, by_task, *cursor.fetchone())
