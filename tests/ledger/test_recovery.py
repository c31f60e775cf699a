"""What recovery makes of an execution whose worker is gone depends on what may have happened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import psycopg
import pytest

from ledger import ExecutionHeld, idempotent_task, make_idempotency_key
from ledger.models import TaskExecution
from ledger.sweep import recover
from tests.ledger.marks import commits

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
