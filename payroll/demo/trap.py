"""A worker caught inside a body: it waits for a row that the trap has locked.

    with Trap(conninfo, "E0042") as trap:
        ...                       # publish; the first that pays E0042 waits inside its payslip
        process = trap.caught()   # its pid, or None as long as nobody is caught

Posting a payslip locks the employee's row first. So whoever pays E0042 has begun, in the real code,
and cannot end before the trap does. No time is guessed, and nothing in a worker knows of it.
"""

from typing import Any, Self

import psycopg

LAY = "SELECT FROM payroll_employee WHERE number = %s FOR UPDATE"

CAUGHT = """
    SELECT delivery.process
    FROM pg_stat_activity AS waiting
    JOIN demo_delivery AS delivery ON delivery.session = waiting.pid AND delivery.outcome IS NULL
    WHERE %s = ANY (pg_blocking_pids(waiting.pid))
    ORDER BY delivery.id DESC LIMIT 1
"""


class Trap:
    def __init__(self, conninfo: str, number: str) -> None:
        self.number = number
        self._holder = psycopg.connect(conninfo)
        self._watcher = psycopg.connect(conninfo, autocommit=True)
        self._holder.execute(LAY, [number])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        """Let go: who is caught and alive goes on; who is dead is found dead and rolled back."""
        self._holder.close()
        self._watcher.close()

    def caught(self) -> int | None:
        found = self._watcher.execute(CAUGHT, [self._holder.info.backend_pid]).fetchone()
        return found[0] if found else None
