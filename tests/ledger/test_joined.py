"""Called with a transaction already open (a test case, ``ATOMIC_REQUESTS``), a run joins it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connection, transaction
from django.test import TestCase

from ledger import (
    DuplicateExecution,
    ExecutionInProgress,
    LostClaim,
    PayloadMismatch,
    check_idempotency_status,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.ledger.wire import Wire
from tests.testapp.models import Effect

Sessions = Callable[[], psycopg.Connection]


@idempotent_task()
def pay(employee: int) -> int:
    return Effect.objects.create(key=str(employee)).pk


@idempotent_task()
def pay_or_fail(employee: int, fail: list[bool]) -> int:
    return Effect.objects.create(key=str(employee)).pk


@idempotent_task(skip_on_duplicate=False)
def strict(employee: int) -> int:
    return Effect.objects.create(key=str(employee)).pk


@idempotent_task(key="employee")
def keyed(employee: int, amount: int) -> int:
    return amount


class Flaky:
    """A task that fails so many times, after writing."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.runs = 0

        @idempotent_task()
        def flaky() -> str:
            Effect.objects.create(key="flaky", note=str(current_execution().attempt))
            self.runs += 1
            if self.runs <= self.failures:
                raise ValueError("flaky")
            return "done"

        self.task = flaky


class TestWithinATestCase(TestCase):
    """Django's own test case, whose transaction never commits."""

    def test_everything_works_as_usual(self) -> None:
        first = pay(7)
        assert pay(7) == first
        assert Effect.objects.count() == 1
        assert check_idempotency_status(f"{__name__}.pay", [7])["executed"]

        strict(7)
        with pytest.raises(DuplicateExecution):
            strict(7)

        flaky = Flaky(failures=1)
        with pytest.raises(ValueError, match="flaky"):
            flaky.task()
        assert flaky.task() == "done"

        keyed(7, 100)
        with pytest.raises(PayloadMismatch):
            keyed(7, 101)

        assert clear_idempotency_key(f"{__name__}.pay", [7])
        assert pay(7) != first

    def test_the_next_test_starts_from_nothing(self) -> None:
        assert not TaskExecution.objects.exists()
        assert isinstance(pay(7), int)


@commits
class TestTogether:
    def test_effects_and_completion_commit_with_the_caller(self, session: Sessions) -> None:
        outside = session()
        count = "select count(*) from ledger_taskexecution"
        with transaction.atomic():
            pay(7)
            assert outside.execute(count).fetchone() == (0,)
        assert outside.execute(count).fetchone() == (1,)
        assert TaskExecution.objects.get().state == State.COMPLETED
        assert Effect.objects.count() == 1

    def test_they_vanish_with_the_caller(self) -> None:
        with transaction.atomic():
            pay(7)
            transaction.set_rollback(True)
        assert not TaskExecution.objects.exists()
        assert not Effect.objects.exists()
        assert isinstance(pay(7), int)

    def test_they_vanish_with_a_savepoint_of_the_callers(self) -> None:
        with transaction.atomic():
            with transaction.atomic():
                pay(7)
                transaction.set_rollback(True)
            assert not TaskExecution.objects.exists()
            pay(7)
        assert Effect.objects.count() == 1

    def test_a_duplicate_in_the_same_transaction_is_answered(self) -> None:
        with transaction.atomic():
            assert pay(7) == pay(7)
        assert Effect.objects.count() == 1
        assert ExecutionEvent.objects.get().kind == "skipped"

    def test_what_was_completed_before_is_answered(self) -> None:
        first = pay(7)
        with transaction.atomic():
            assert pay(7) == first

    def test_to_others_it_is_in_progress_until_the_caller_commits(self) -> None:
        joined, go_on = threading.Event(), threading.Event()

        def caller() -> int:
            with transaction.atomic():
                result = pay(7)
                joined.set()
                wait_for(go_on)
                return result

        with Elsewhere() as elsewhere:
            call = elsewhere.call(caller)
            wait_for(joined)
            try:
                with pytest.raises(ExecutionInProgress):
                    pay(7)
                with pytest.raises(ExecutionInProgress), transaction.atomic():
                    pay(7)
            finally:
                go_on.set()
            committed = call.result(PATIENCE)
        assert pay(7) == committed

    def test_an_expired_execution_is_run_anew(self, clock: Clock) -> None:
        first = pay(7)
        clock.forward(hours=25)
        with transaction.atomic():
            assert pay(7) != first
        assert TaskExecution.objects.get(retired_at=None).attempt == 1

    def test_no_transaction_is_begun_or_committed_for_it(self, wire: Wire) -> None:
        with transaction.atomic():
            Effect.objects.create(key="opens the transaction")
            with wire.watched() as first:
                pay(7)
            with wire.watched() as duplicate:
                pay(7)
        assert first.statements == [
            "ledger_claim", "ledger_lock", "savepoint", "insert", "ledger_complete", "release",
        ]  # fmt: skip
        assert duplicate.statements == ["ledger_claim", "ledger_lock"]


@commits
class TestFailing:
    def test_a_failure_the_caller_catches_is_recorded_and_its_effects_are_gone(self) -> None:
        flaky = Flaky(failures=1)
        with transaction.atomic():
            Effect.objects.create(key="the caller's own")
            with pytest.raises(ValueError, match="flaky"):
                flaky.task()
        assert list(Effect.objects.values_list("key", flat=True)) == ["the caller's own"]
        row = TaskExecution.objects.get()
        assert (row.state, row.error) == (State.FAILED, "ValueError('flaky')")
        event = row.events.get()
        assert event.kind == "failed"
        assert "ValueError: flaky" in event.traceback

        assert flaky.task() == "done"
        assert TaskExecution.objects.get().attempt == 2

    def test_it_may_be_repeated_within_the_same_transaction(self) -> None:
        flaky = Flaky(failures=2)
        with transaction.atomic():
            for _ in range(2):
                with pytest.raises(ValueError, match="flaky"):
                    flaky.task()
            assert flaky.task() == "done"
        assert Effect.objects.get().note == "3"
        assert TaskExecution.objects.get().attempt == 3

    def test_a_failure_the_caller_does_not_catch_takes_everything_along(self) -> None:
        flaky = Flaky(failures=1)
        with pytest.raises(ValueError, match="flaky"), transaction.atomic():
            flaky.task()
        assert not TaskExecution.objects.exists()
        assert not Effect.objects.exists()
        assert flaky.task() == "done"

    def test_a_caller_that_goes_on_from_a_database_error_can(self) -> None:
        @idempotent_task()
        def clumsy() -> None:
            with connection.cursor() as cursor:
                cursor.execute("select 1/0")

        with transaction.atomic():
            with pytest.raises(Exception, match="division by zero"):
                clumsy()
            Effect.objects.create(key="goes on")
        assert Effect.objects.get().key == "goes on"
        assert TaskExecution.objects.get().state == State.FAILED

    def test_a_lost_claim_commits_nothing(self) -> None:
        @idempotent_task()
        def robbed() -> None:
            Effect.objects.create(key="mine")
            TaskExecution.objects.update(attempt=2)

        with transaction.atomic(), pytest.raises(LostClaim):
            robbed()
        assert not Effect.objects.exists()


@commits
class TestNested:
    def test_another_executions_body_may_be_called_from_a_body(self) -> None:
        @idempotent_task()
        def payroll(*employees: int) -> list[int]:
            return [pay(employee) for employee in employees]

        assert payroll(1, 2) == list(Effect.objects.order_by("id").values_list("pk", flat=True))
        assert TaskExecution.objects.filter(state=State.COMPLETED).count() == 3
        pay(1)
        assert Effect.objects.count() == 2

    def test_when_the_outer_one_fails_the_inner_ones_never_happened(self) -> None:
        @idempotent_task()
        def payroll() -> None:
            pay(1)
            raise ValueError("after the first")

        with pytest.raises(ValueError, match="after the first"):
            payroll()
        assert not Effect.objects.exists()
        row = TaskExecution.objects.get()
        assert (row.task_name.rpartition(".")[2], row.state) == ("payroll", State.FAILED)

    def test_an_inner_failure_may_be_survived_by_the_outer_one(self) -> None:
        flaky = Flaky(failures=1)

        @idempotent_task()
        def tolerant() -> str:
            pay(1)
            with pytest.raises(ValueError, match="flaky"):
                flaky.task()
            return "done"

        assert tolerant() == "done"
        assert [effect.key for effect in Effect.objects.all()] == ["1"]
        states = TaskExecution.objects.order_by("id").values_list("state", flat=True)
        assert list(states) == [State.COMPLETED, State.COMPLETED, State.FAILED]

    def test_current_execution_is_the_innermost_and_comes_back(self) -> None:
        seen: list[str] = []

        @idempotent_task()
        def inner(self: object) -> None:
            seen.append(current_execution().key)

        @idempotent_task()
        def outer(self: object) -> None:
            seen.append(current_execution().key)
            inner(SimpleNamespace(name="inner"))
            seen.append(current_execution().key)

        outer(SimpleNamespace(name="outer"))
        assert [key.split(":")[1] for key in seen] == ["outer", "inner", "outer"]

    def test_an_execution_that_calls_itself_is_refused_and_does_not_hang(self) -> None:
        runs: list[int] = []

        @idempotent_task()
        def recursive(depth: int) -> int:
            runs.append(depth)
            return recursive(depth)

        with pytest.raises(ExecutionInProgress, match="called itself"):
            recursive(3)
        assert runs == [3]
        assert TaskExecution.objects.get().state == State.FAILED

    def test_it_may_call_itself_with_other_arguments(self) -> None:
        @idempotent_task()
        def countdown(n: int) -> int:
            return 0 if n == 0 else 1 + countdown(n - 1)

        assert countdown(5) == 5
        assert TaskExecution.objects.filter(state=State.COMPLETED).count() == 6
