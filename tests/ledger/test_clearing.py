"""A person decides that an execution may run again; nothing is deleted for it."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import transaction

from ledger import (
    ExecutionInProgress,
    check_idempotency_status,
    clear_idempotency_key,
    idempotent_task,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.death import dies
from tests.ledger.marks import commits
from tests.ledger.test_claims import Slow
from tests.ledger.test_take_over import Frail
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.testapp.models import Effect

pytestmark = commits

PAY = f"{__name__}.pay"


@idempotent_task()
def pay(employee: int) -> int:
    if employee < 0:
        raise ValueError("nobody")
    return Effect.objects.create(key=str(employee)).pk


def test_the_next_call_runs_again_and_the_past_stays_readable() -> None:
    first = pay(7)
    assert clear_idempotency_key(PAY, [7], reason="wrong hours", actor="ana") is True
    assert pay(7) != first

    old, new = TaskExecution.objects.order_by("id")
    assert (old.state, old.result, old.retired_reason) == (
        State.COMPLETED,
        first,
        "cleared: wrong hours",
    )
    assert new.retired_at is None
    event = old.events.get()
    assert (event.kind, event.actor, event.reason) == ("retired", "ana", "wrong hours")


def test_where_nothing_is_live_there_is_nothing_to_clear() -> None:
    assert clear_idempotency_key(PAY, [7]) is False
    pay(7)
    assert clear_idempotency_key(PAY, [8]) is False
    assert clear_idempotency_key(PAY, [7]) is True
    assert clear_idempotency_key(PAY, [7]) is False


def test_a_failure_can_be_cleared() -> None:
    with pytest.raises(ValueError, match="nobody"):
        pay(-1)
    assert clear_idempotency_key(PAY, [-1]) is True
    assert TaskExecution.objects.get().state == State.FAILED


def test_what_is_running_cannot_be_cleared() -> None:
    slow = Slow()
    name = f"{slow.task.__module__}.{slow.task.__qualname__}"
    with Elsewhere() as elsewhere:
        running = elsewhere.call(slow.task, 7)
        wait_for(slow.inside)
        try:
            with pytest.raises(ExecutionInProgress, match=r"idempotent:.*slow.*cannot be cleared"):
                clear_idempotency_key(name, [7])
        finally:
            slow.go_on.set()
        assert running.result(PATIENCE) == "paid"
    assert not ExecutionEvent.objects.exists()
    assert clear_idempotency_key(name, [7]) is True


def test_a_body_cannot_clear_itself() -> None:
    @idempotent_task()
    def suicidal() -> str:
        Effect.objects.create(key="once")
        with pytest.raises(ExecutionInProgress):
            clear_idempotency_key(f"{suicidal.__module__}.{suicidal.__qualname__}")
        return "done"

    assert suicidal() == "done"
    assert TaskExecution.objects.get().state == State.COMPLETED


def test_what_a_dead_worker_left_running_can_be_cleared() -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)

    assert clear_idempotency_key(frail.name, [7], reason="not needed", actor="ana") is True

    row = TaskExecution.objects.get()
    assert row.retired_at is not None
    assert row.state != State.COMPLETED
    assert list(row.events.order_by("id").values_list("kind", flat=True)) == [
        "abandoned",
        "retired",
    ]
    assert frail.task(7) == "paid"
    assert check_idempotency_status(frail.name, [7])["attempt"] == 1


def test_it_takes_part_in_the_callers_transaction(
    session: Callable[[], psycopg.Connection],
) -> None:
    first = pay(7)
    with transaction.atomic():
        assert clear_idempotency_key(PAY, [7]) is True
        assert check_idempotency_status(PAY, [7])["executed"] is False
        transaction.set_rollback(True)
    assert pay(7) == first


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x" * 10_000, "<script>", "😀" * 400])
def test_any_reason_and_actor_can_be_given(text: str) -> None:
    pay(7)
    assert clear_idempotency_key(PAY, [7], reason=text, actor=text) is True
    event = ExecutionEvent.objects.get()
    assert event.actor
    assert len(event.actor) <= 255
    assert event.reason
    assert TaskExecution.objects.get().retired_at is not None
