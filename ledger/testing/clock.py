"""The database's clock, which is the ledger's only one, moved for a test."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


class Clock:
    """Replaces ``ledger_now()`` in a database, for all its sessions, and puts it back.

    What expires, is swept, purged or recovered goes by it. The business date of a date-based key
    does not: that is Python's date, or the header ``ledger_period``.
    """

    def __init__(self, database: str = DEFAULT_DB_ALIAS) -> None:
        self.database = database
        self.ahead = dt.timedelta()
        self._original = str(self._ask("select pg_get_functiondef('ledger_now()'::regprocedure)"))

    def forward(self, **period: float) -> None:
        """Let time pass, as in ``forward(hours=24, seconds=1)``: arguments of ``timedelta``.
        Negative ones set the clock back."""
        self.ahead += dt.timedelta(**period)
        self._ask(
            "create or replace function ledger_now() returns timestamptz"
            " language sql volatile parallel safe as"
            f" $$ select clock_timestamp() + interval '{self.ahead.total_seconds()} seconds' $$"
        )

    def back(self) -> None:
        """To the real time, with the function as it was."""
        self.ahead = dt.timedelta()
        self._ask(self._original)

    def now(self) -> dt.datetime:
        """What it shows."""
        now: dt.datetime = self._ask("select ledger_now()")
        return now

    def _ask(self, sql: str) -> Any:
        with connections[self.database].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
