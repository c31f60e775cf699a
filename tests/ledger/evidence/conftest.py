"""A ledger with some history in it, and a superuser who tampers with it, triggers switched off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import psycopg
import pytest

from ledger import idempotent_task
from ledger.evidence.verify import Verification
from ledger.execution import current_execution
from tests.testapp.models import Effect


@idempotent_task()
def pay(employee: int) -> dict[str, int]:
    if employee < 0:
        raise ValueError("nobody")
    return {"paid": employee}


@idempotent_task(guarantee="at_least_once")
def in_steps(employee: int) -> None:
    current_execution().step("one", lambda: Effect.objects.create(key=str(employee)).pk)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's leftovers from the test before are waited for."""
    monkeypatch.setattr("ledger.sweep.PATIENCE", dt.timedelta(seconds=20))


@pytest.fixture
def history(transactional_db: None) -> None:
    """Three completed executions, one failed, one with a step; a duplicate and the failure as
    events."""
    for employee in (1, 2, 3):
        pay(employee)
    pay(2)
    in_steps(4)
    with pytest.raises(ValueError, match="nobody"):
        pay(-1)


Tamper = Callable[[str], int]


@pytest.fixture
def tamper(session: Callable[[], psycopg.Connection]) -> Tamper:
    """Runs SQL with all triggers and foreign keys switched off; returns how many rows it hit."""
    superuser = session()
    superuser.execute("set session_replication_role = replica")
    return lambda sql: superuser.execute(sql.encode()).rowcount


def broken() -> list[str]:
    """What verifying finds, in words."""
    return [str(one) for one in Verification("default")]
