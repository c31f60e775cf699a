"""What recovery makes of an execution whose worker is gone depends on what may have happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from ledger import ExecutionHeld, idempotent_task, make_idempotency_key, store
from ledger.call import Call
from ledger.models import TaskExecution
from ledger.protection import MARK
from ledger.sweep import recover
from tests.ledger.marks import commits
from tests.workers import wait_until

pytestmark = commits


@pytest.mark.parametrize(
    ("guarantee", "state", "events"),
    [
        ("exactly_once", "failed", ["abandoned"]),
        ("at_least_once", "failed", ["abandoned"]),
        ("at_most_once", "held", ["abandoned", "held"]),
    ],
)
def test_what_may_have_taken_effect_outside_is_held_and_anything_else_runs_again(
    session: Callable[[], psycopg.Connection], guarantee: str, state: str, events: list[str]
) -> None:
    @idempotent_task(guarantee=guarantee)
    def task() -> str:
        return "done"

    name = f"{task.__module__}.{task.__qualname__}"
    key = make_idempotency_key(name)
    session().execute(
        "select ledger_claim(%s, %s, %s, '{}', null, %s, '', '', 'gone', 3, false)",
        [key, name, key.rpartition(":")[2], guarantee],
    )

    assert recover(grace=dt.timedelta(0)) == [key]

    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.crashes) == (state, 1, 1)
    assert list(row.events.order_by("id").values_list("kind", flat=True)) == events
    if state == "held":
        with pytest.raises(ExecutionHeld):
            task()
    else:
        assert task() == "done"


def pay_under(guarantee: str, *, answers: bool) -> Callable[[int], str]:
    """One task, in the release that has this guarantee."""

    def pay(number: int) -> str:
        if not answers:
            raise ConnectionError("no answer")
        return "paid"

    pay.__qualname__ = "pay"
    return idempotent_task(None, guarantee=guarantee)(pay)


@pytest.mark.parametrize("before", ["at_least_once", "exactly_once"])
def test_an_execution_is_recovered_by_the_guarantee_it_began_under_and_runs_by_todays(
    before: str,
) -> None:
    with pytest.raises(ConnectionError):
        pay_under(before, answers=False)(7)
    pay: Any = pay_under("at_most_once", answers=True)
    call = Call(getattr(pay, MARK), (7,), {})
    gone = connection.copy()
    assert store.claim(gone, call, joined=False).attempt == 2
    gone.close()  # its worker may have sent the money

    wait_until(lambda: recover(grace=dt.timedelta(0)) == [call.key], what="its lock to vanish")
    assert TaskExecution.objects.get().state == "failed"
    with pytest.raises(ExecutionHeld):
        pay(7)
    assert TaskExecution.objects.get().state == "held"
