"""Stops one delivery at a chosen point of the protocol, so that a race happens every time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.db import connection

import ledger
from ledger import run_lock
from tests.workers import wait_until

T = TypeVar("T")
GATE = 777
FUNCTIONS = Path(ledger.__file__).parent / "sql" / "functions.sql"


class Gate:
    """Closed from the start. ``opened`` lets the late one go on."""

    def __init__(self, number: int) -> None:
        self.number = number

    @classmethod
    @contextmanager
    def at_lock(cls, number: int) -> Iterator[Gate]:
        """Shut before the ``number``-th time that a late delivery asks for its key's run lock.

        A first delivery asks twice: 1 is before its claim, 2 between that commit and its run.
        """
        lock_id = re.search(r"hashtextextended\(p_key, \d+\)", FUNCTIONS.read_text())
        assert lock_id is not None
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                create sequence ledger_test_gate;
                create or replace function ledger_lock_id(p_key text) returns bigint
                language plpgsql volatile as $$
                begin
                    if current_setting('application_name') = 'late' then
                        if nextval('ledger_test_gate') = {number} then
                            perform pg_advisory_lock_shared({GATE});
                            perform pg_advisory_unlock_shared({GATE});
                        end if;
                    end if;
                    return {lock_id.group()};
                end $$;
                select pg_advisory_lock({GATE})
                """
            )
            try:
                yield cls(number)
            finally:
                cursor.execute("select pg_advisory_unlock_all()")
                cursor.execute(FUNCTIONS.read_text())
                cursor.execute("drop sequence ledger_test_gate")

    def late(self, function: Callable[[], T]) -> Callable[[], T]:
        """``function``, for a thread of its own: it will stop at the gate."""

        def run() -> T:
            with run_lock.borrowed(connection.alias) as line:
                for either in (connection, line):
                    either.cursor().execute("set application_name = 'late'")
            return function()

        return run

    def wait_for_it(self) -> None:
        """Until the late one stands at the gate."""

        def waiting() -> bool:
            with connection.cursor() as cursor:
                cursor.execute(
                    "select count(*) from pg_locks"
                    " where locktype = 'advisory' and objid = %s and not granted",
                    [GATE],
                )
                return bool(cursor.fetchone()[0])

        wait_until(waiting, what="the late delivery at the gate")

    def wait_until_refused(self) -> None:
        """Until the late one, past the gate, has asked for its lock and asks again."""

        def asked() -> bool:
            with connection.cursor() as cursor:
                cursor.execute("select last_value from ledger_test_gate")
                return bool(cursor.fetchone()[0] > self.number)

        wait_until(asked, what="the late delivery's next try")

    def open(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("select pg_advisory_unlock(%s)", [GATE])
