"""What happened is told: to the ``ledger`` logger, with fields, and to the signals' receivers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import shared_task
from django.dispatch import Signal

from ledger import (
    DuplicateExecution,
    ExecutionHeld,
    ExecutionInProgress,
    idempotent_task,
    make_idempotency_key,
    signals,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.death import die, dies
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.test_claims import Slow
from tests.ledger.test_take_over import Frail
from tests.ledger.threads import Elsewhere, wait_for
from tests.testapp.models import Effect

pytestmark = commits

PAY = f"{__name__}.pay"


@idempotent_task()
def pay(employee: int) -> int:
    if employee < 0:
        raise ValueError("nobody")
    return Effect.objects.create(key=str(employee)).pk


@shared_task
@idempotent_task()
def delivered(employee: int) -> int:
    return employee


class Told:
    """The ledger's log records: their levels, outcomes and attempts."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog
        caplog.set_level(logging.DEBUG, "ledger")

    @property
    def records(self) -> list[Any]:
        return [record for record in self.caplog.records if record.name == "ledger"]

    def outcomes(self) -> list[tuple[str, str, int | None]]:
        return [(r.levelname, r.ledger_outcome, r.ledger_attempt) for r in self.records]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return Told(caplog)


class TestTheLog:
    def test_a_claim_and_a_completion(self, told: Told) -> None:
        pay(7)
        assert told.outcomes() == [("INFO", "claimed", 1), ("DEBUG", "completed", 1)]

    def test_a_skip(self, told: Told) -> None:
        pay(7)
        told.caplog.clear()
        pay(7)
        assert told.outcomes() == [("INFO", "skipped", None)]

    def test_a_skip_in_strict_mode(self, told: Told) -> None:
        @idempotent_task(skip_on_duplicate=False)
        def strict() -> None: ...

        strict()
        told.caplog.clear()
        with pytest.raises(DuplicateExecution):
            strict()
        assert told.outcomes() == [("INFO", "skipped", None)]

    def test_a_failure_and_the_attempt_after_it(self, told: Told) -> None:
        for _ in range(2):
            with pytest.raises(ValueError, match="nobody"):
                pay(-1)
        assert told.outcomes() == [
            ("INFO", "claimed", 1),
            ("WARNING", "failed", 1),
            ("INFO", "claimed", 2),
            ("WARNING", "failed", 2),
        ]
        assert "nobody" in told.records[1].getMessage()

    def test_a_take_over(self, told: Told) -> None:
        frail = Frail(deaths=1)
        dies(frail.task, 7)
        told.caplog.clear()
        frail.task(7)
        assert told.outcomes() == [
            ("WARNING", "taken_over", 2),
            ("INFO", "claimed", 2),
            ("DEBUG", "completed", 2),
        ]

    def test_holding(self, told: Told) -> None:
        frail = Frail(deaths=9, max_crashes=1)
        for _ in range(2):
            dies(frail.task, 7)
        told.caplog.clear()
        with pytest.raises(ExecutionHeld):
            frail.task(7)
        assert told.outcomes() == [("ERROR", "held", None)]

    def test_an_execution_in_progress(self, told: Told) -> None:
        slow = Slow()
        with Elsewhere() as elsewhere:
            running = elsewhere.call(slow.task, 7)
            wait_for(slow.inside)
            told.caplog.clear()
            try:
                with pytest.raises(ExecutionInProgress):
                    slow.task(7)
                assert told.outcomes() == [("INFO", "in_progress", None)]
            finally:
                slow.go_on.set()
            running.result()

    def test_an_outage(self, told: Told) -> None:
        @idempotent_task()
        def task() -> None:
            die()

        dies(task)
        assert told.outcomes() == [("INFO", "claimed", 1), ("ERROR", "unreachable", None)]

    def test_every_record_names_key_task_attempt_and_message(
        self, told: Told, inbox: Inbox
    ) -> None:
        sent = [delivered.delay(7).id, delivered.delay(7).id]
        inbox.take().run()
        inbox.take().run()
        claimed, completed, skipped = told.records
        for record, task_id in [(claimed, sent[0]), (completed, sent[0]), (skipped, sent[1])]:
            assert record.ledger_key == make_idempotency_key(delivered.name, [7])
            assert record.ledger_task == delivered.name
            assert record.ledger_task_id == task_id
            assert record.ledger_key in record.getMessage()
        events = ExecutionEvent.objects.values_list("kind", "task_id")
        assert list(events) == [("skipped", sent[1])]
        assert TaskExecution.objects.get().task_id == sent[0]

    def test_a_log_that_is_off_costs_nothing(self, told: Told) -> None:
        told.caplog.set_level(logging.CRITICAL, "ledger")
        pay(7)
        pay(7)
        assert told.records == []


@contextmanager
def receiving(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    received: list[dict[str, Any]] = []

    def receiver(**told: Any) -> None:
        received.append(told)

    signal.connect(receiver)
    try:
        yield received
    finally:
        signal.disconnect(receiver)


ALL = {
    name: getattr(signals, f"execution_{name}")
    for name in ("started", "completed", "skipped", "failed", "taken_over")
}


class TestTheSignals:
    def test_each_comes_at_its_turn(self) -> None:
        names: list[str] = []
        receivers = {
            name: lambda name=name, **told: names.append(f"{name} {told['attempt']}")
            for name in ALL
        }
        for name, signal in ALL.items():
            signal.connect(receivers[name])
        try:
            frail = Frail(deaths=1)
            dies(frail.task, 7)
            frail.task(7)
            frail.task(7)
            with pytest.raises(ValueError, match="nobody"):
                pay(-1)
        finally:
            for name, signal in ALL.items():
                signal.disconnect(receivers[name])
        assert names == [
            "started 1",
            "taken_over 2",
            "started 2",
            "completed 2",
            "skipped None",
            "started 1",
            "failed 1",
        ]

    def test_they_tell_the_function_the_call_and_the_attempt(self) -> None:
        with receiving(signals.execution_completed) as received:
            pay(7)
        (told,) = received
        assert told["sender"] is pay.__wrapped__  # type: ignore[attr-defined]
        assert told["call"].key == make_idempotency_key(PAY, [7])
        assert told["attempt"] == 1

    def test_completion_is_told_when_it_is_committed(self) -> None:
        seen: list[str] = []

        def look(**_: Any) -> None:
            def from_another_connection() -> str:
                return TaskExecution.objects.get().state

            with Elsewhere() as elsewhere:
                seen.append(elsewhere.call(from_another_connection).result())

        signals.execution_completed.connect(look)
        try:
            pay(7)
        finally:
            signals.execution_completed.disconnect(look)
        assert seen == [State.COMPLETED]

    @pytest.mark.parametrize("name", ALL)
    def test_a_receiver_that_raises_breaks_nothing(self, name: str) -> None:
        def broken(**_: Any) -> None:
            raise RuntimeError("a receiver's own mistake")

        frail = Frail(deaths=1)
        ALL[name].connect(broken)
        try:
            dies(frail.task, 7)
            assert frail.task(7) == "paid"
            assert frail.task(7) == "paid"
            with pytest.raises(ValueError, match="nobody"):
                pay(-1)
        finally:
            ALL[name].disconnect(broken)
        states = TaskExecution.objects.order_by("id").values_list("state", flat=True)
        assert list(states) == [State.COMPLETED, State.FAILED]

    def test_a_rolled_back_run_was_started_but_not_completed(self) -> None:
        with receiving(signals.execution_completed) as completed, Elsewhere() as elsewhere:
            ran = threading.Event()

            @idempotent_task()
            def task() -> None:
                ran.set()
                raise ValueError("no")

            call = elsewhere.call(task)
            assert isinstance(call.exception(), ValueError)
        assert ran.is_set()
        assert completed == []
