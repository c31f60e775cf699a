"""The parts of a long execution: each is done once, whatever becomes of the attempts."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from ledger import (
    ExecutionHeld,
    LedgerError,
    LostClaim,
    OpenTransaction,
    PayloadMismatch,
    UnstorableResult,
    UnusableArgument,
    current_execution,
    idempotent_task,
    release,
)
from ledger.lookup import clear
from ledger.models import ExecutionStep, TaskExecution
from tests.ledger.guarantees.locks import cut
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.ledger.wire import Wire
from tests.testapp.models import Effect
from tests.workers import wait_until

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]


class Stepwise:
    """Three steps, of which one fails or worse in the first attempt, after its effect."""

    def __init__(
        self,
        trouble: Callable[[], object] = lambda: None,
        at: int = 2,
        guarantee: str = "at_least_once",
        **options: Any,
    ) -> None:
        self.calls: list[tuple[int, int]] = []
        self.progress: list[frozenset[str]] = []

        def part(number: int, *, note: str) -> int:
            attempt = current_execution().attempt
            self.calls.append((attempt, number))
            Effect.objects.create(key=str(number), note=note)
            if number == at and len({a for a, _ in self.calls}) == 1:
                trouble()
            return number * 10

        @idempotent_task(guarantee=guarantee, **options)
        def task() -> list[int]:
            execution = current_execution()
            self.progress.append(execution.steps_done)
            note = f"attempt {execution.attempt}"
            return [execution.step(f"part {n}", part, n, note=note) for n in (1, 2, 3)]

        self.task = task


def fail() -> None:
    raise ValueError("not this time")


def write_and_fail() -> None:
    Effect.objects.create(key="one")
    fail()


def effects() -> list[tuple[str, str]]:
    return list(Effect.objects.order_by("id").values_list("key", "note"))


def steps() -> list[tuple[str, int, Any]]:
    return list(ExecutionStep.objects.order_by("id").values_list("name", "attempt", "result"))


def test_a_later_attempt_goes_on_behind_what_is_done() -> None:
    stepwise = Stepwise(fail)
    with pytest.raises(ValueError, match="not this time"):
        stepwise.task()
    assert steps() == [("part 1", 1, 10)]

    assert stepwise.task() == [10, 20, 30]

    assert stepwise.calls == [(1, 1), (1, 2), (2, 2), (2, 3)]
    assert effects() == [("1", "attempt 1"), ("2", "attempt 2"), ("3", "attempt 2")]
    assert steps() == [("part 1", 1, 10), ("part 2", 2, 20), ("part 3", 2, 30)]
    assert stepwise.progress == [frozenset(), frozenset({"part 1"})]


def test_a_steps_effect_and_its_record_commit_together(session: Sessions) -> None:
    other = session()
    seen: list[list[tuple[Any, ...]]] = []

    def look() -> None:
        seen.append(
            other.execute(
                "select (select count(*) from testapp_effect),"
                " (select count(*) from ledger_executionstep)"
            ).fetchall()
        )

    @idempotent_task(guarantee="at_least_once")
    def task() -> None:
        def part() -> None:
            Effect.objects.create(key="one")
            look()

        look()
        current_execution().step("one", part)
        look()

    task()

    assert seen == [[(0, 0)], [(0, 0)], [(1, 1)]]


def test_a_step_that_cannot_be_recorded_has_no_effect(session: Sessions) -> None:
    server = session()
    server.execute("alter table ledger_executionstep add constraint no check (name <> 'one')")
    try:

        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            current_execution().step("one", lambda: Effect.objects.create(key="one").key)

        with pytest.raises(IntegrityError):
            task()
    finally:
        server.execute("alter table ledger_executionstep drop constraint no")
    assert not Effect.objects.exists()


def test_what_a_failed_step_wrote_is_rolled_back_and_the_body_may_go_on() -> None:
    @idempotent_task(guarantee="at_least_once")
    def task() -> frozenset[str]:
        execution = current_execution()
        with pytest.raises(ValueError, match="not this time"):
            execution.step("one", write_and_fail)
        execution.step("two", lambda: Effect.objects.create(key="two").key)
        return execution.steps_done

    with pytest.raises(UnstorableResult):
        task()  # a frozenset is no result, but the steps stand
    assert effects() == [("two", "")]
    assert [name for name, _, _ in steps()] == ["two"]


def test_a_name_stands_for_one_step_also_within_an_attempt() -> None:
    @idempotent_task(guarantee="at_least_once")
    def task() -> list[int]:
        step = current_execution().step
        return [step("one", lambda n=n: n) for n in (1, 2)]  # type: ignore[misc]

    assert task() == [1, 1]


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_results_are_replayed_as_a_result_backend_would_return_them(guarantee: str) -> None:
    result = {
        "net": Decimal("2811.40"),
        "on": dt.date(2026, 11, 30),
        "text": "NUL \x00 and \U0001f600",
        "nothing": None,
        "list": [1, 2.5, True],
    }
    got: list[object] = []

    safe: Any = {"safe_to_retry": (ValueError,)} if guarantee == "at_most_once" else {}

    @idempotent_task(guarantee=guarantee, **safe)
    def task() -> None:
        got.append(current_execution().step("pay", lambda: result))
        if current_execution().attempt == 1:
            fail()

    with pytest.raises(ValueError, match="not this time"):
        task()
    task()
    assert got == [result, result]


def test_what_is_done_is_read_once_an_attempt(wire: Wire) -> None:
    @idempotent_task(guarantee="at_least_once")
    def task() -> None:
        for n in range(10):
            current_execution().step(f"part {n}", int)

    with wire.watched() as traffic:
        task()

    reads = [q for q in traffic.sent if "from ledger_executionstep" in q]
    writes = [q for q in traffic.sent if "into ledger_executionstep" in q]
    assert (len(reads), len(writes)) == (1, 10)


def test_an_exactly_once_task_may_be_a_step() -> None:
    runs: list[int] = []

    @idempotent_task()
    def inner(number: int) -> int:
        runs.append(number)
        Effect.objects.create(key=str(number))
        return number

    @idempotent_task(guarantee="at_least_once")
    def task() -> list[int]:
        done = [current_execution().step(f"{n}", inner, n) for n in (1, 2, 3)]
        if current_execution().attempt == 1:
            fail()
        return done

    inner(2)
    with pytest.raises(ValueError, match="not this time"):
        task()
    assert task() == [1, 2, 3]
    assert runs == [2, 1, 3]
    assert sorted(Effect.objects.values_list("key", flat=True)) == ["1", "2", "3"]


class TestOtherArguments:
    """With ``key=``, a call may name the same execution with other arguments."""

    def task(self) -> Any:
        @idempotent_task(guarantee="at_least_once", key="month")
        def task(month: int, employees: list[int], *, late: bool = False) -> list[int]:
            step = current_execution().step
            done = [step("all", lambda: employees)] if not late else []
            if current_execution().attempt == 1:
                fail()
            return done or step("all", lambda: employees)  # type: ignore[return-value]

        return task

    def test_steps_done_with_others_are_not_passed_off_as_theirs(self) -> None:
        task = self.task()
        with pytest.raises(ValueError, match="not this time"):
            task(11, [1, 2])
        for _ in range(2):
            with pytest.raises(PayloadMismatch, match=r"idempotent:.*done steps with other.*clear"):
                task(11, [1, 2, 3])
        assert TaskExecution.objects.get().state == "failed"

        assert task(11, [1, 2]) == [[1, 2]]

    def test_cleared_it_does_all_of_it_with_these(self) -> None:
        task = self.task()
        with pytest.raises(ValueError, match="not this time"):
            task(11, [1, 2])
        clear(TaskExecution.objects.get().key, "default", reason="one is missing", actor="ana")
        with pytest.raises(ValueError, match="not this time"):
            task(11, [1, 2, 3])
        assert task(11, [1, 2, 3]) == [[1, 2, 3]]

    def test_a_failure_without_steps_binds_nobody(self) -> None:
        task = self.task()
        with pytest.raises(ValueError, match="not this time"):
            task(11, [1, 2], late=True)
        assert task(11, [1, 2, 3], late=True) == [1, 2, 3]


class TestLostClaims:
    def test_a_step_of_a_lost_claim_writes_nothing_and_is_not_even_begun(self) -> None:
        calls: list[tuple[int, int]] = []

        @idempotent_task(guarantee="at_least_once")
        def task() -> list[int]:
            execution = current_execution()

            def part(number: int) -> int:
                calls.append((execution.attempt, number))
                Effect.objects.create(key=str(number), note=f"attempt {execution.attempt}")
                return number

            done = [execution.step("one", part, 1)]
            if execution.attempt == 1:
                cut()
                with Elsewhere() as elsewhere:
                    assert elsewhere.call(task).result(PATIENCE) == [1, 2]
            return [*done, execution.step("two", part, 2)]

        with pytest.raises(LostClaim, match=r"idempotent:.*took over attempt 1.*rolled back"):
            task()

        assert calls == [(1, 1), (2, 2)]
        assert effects() == [("1", "attempt 1"), ("2", "attempt 2")]
        row = TaskExecution.objects.get()
        assert (row.state, row.attempt, row.result) == ("completed", 2, [1, 2])

    @pytest.mark.parametrize(
        "change",
        ["attempt = attempt + 1", "state = 'failed'", "state = 'held'"],
    )
    def test_whatever_became_of_it_a_step_writes_nothing(
        self, change: str, session: Sessions
    ) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            session().execute(f"update ledger_taskexecution set {change}")
            current_execution().step("one", lambda: Effect.objects.create(key="one").key)

        with pytest.raises(LostClaim):
            task()
        assert not Effect.objects.exists()
        assert steps() == []

    def test_a_take_over_waits_for_a_steps_commit_and_finds_it_done(
        self, session: Sessions
    ) -> None:
        calls: list[tuple[int, int]] = []
        inside, go_on = threading.Event(), threading.Event()

        @idempotent_task(guarantee="at_least_once")
        def task() -> list[int]:
            execution = current_execution()

            def part(number: int) -> int:
                calls.append((execution.attempt, number))
                Effect.objects.create(key=str(number), note=f"attempt {execution.attempt}")
                if execution.attempt == 1:
                    inside.set()
                    wait_for(go_on)
                return number

            if execution.attempt == 1:
                cut()
            return [execution.step(f"part {n}", part, n) for n in (1, 2)]

        def waits() -> bool:
            return server.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                " and query like '%%ledger_take_over%%' and datname = current_database()"
            ).fetchone() == (1,)

        server = session()
        with Elsewhere() as elsewhere:
            first = elsewhere.call(task)
            wait_for(inside)
            second = elsewhere.call(task)
            wait_until(waits, what="the take-over at the step's row lock")
            assert server.execute("select attempt from ledger_taskexecution").fetchone() == (1,)
            go_on.set()
            assert second.result(PATIENCE) == [1, 2]
            with pytest.raises(LostClaim):
                first.result(PATIENCE)

        assert calls[0] == (1, 1)
        assert (2, 1) not in calls
        assert effects()[0] == ("1", "attempt 1")
        assert [key for key, _ in effects()] == ["1", "2"]


class TestRefusals:
    @pytest.mark.parametrize("name", ["", "x" * 201, "nul \x00", "half \ud800", None, 7, b"bytes"])
    def test_a_name_is_text_of_1_to_200_characters(self, name: Any) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            current_execution().step(name, Effect.objects.create, key="one")

        with pytest.raises(UnusableArgument, match=r"idempotent:.*text of 1 to 200 characters"):
            task()
        assert not Effect.objects.exists()

    @pytest.mark.parametrize("name", ["x", "x" * 200, "größer als 😀"])
    def test_any_such_text_will_do(self, name: str) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> int:
            done = current_execution().step(name, lambda: 7)
            if current_execution().attempt == 1:
                fail()
            return done

        with pytest.raises(ValueError, match="not this time"):
            task()
        assert task() == 7
        assert [attempt for _, attempt, _ in steps()] == [1]

    def test_an_exactly_once_body_has_none(self) -> None:
        @idempotent_task()
        def task() -> None:
            current_execution().step("one", fail)

        with pytest.raises(LedgerError, match=r"idempotent:.*commits as one.*at_least_once"):
            task()

    def test_a_step_is_no_part_of_another_transaction(self) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            with transaction.atomic():
                current_execution().step("one", fail)

        with pytest.raises(OpenTransaction, match=r"step 'one' commits by itself"):
            task()

    def test_a_step_is_no_part_of_another_step(self) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            step = current_execution().step
            step("outer", lambda: step("inner", fail))

        with pytest.raises(OpenTransaction, match="step 'inner'"):
            task()
        assert steps() == []

    def test_a_result_that_cannot_be_stored_rolls_the_step_back(self) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            current_execution().step("one", lambda: Effect.objects.create(key="one"))

        with pytest.raises(UnstorableResult, match=r"step 'one', returned a Effect.*rolled back"):
            task()
        assert not Effect.objects.exists()
        assert steps() == []

    @pytest.mark.parametrize("statement", ["rollback", "commit", "set_rollback", "broken"])
    def test_a_step_that_does_not_leave_its_transaction_whole_is_not_done(
        self, statement: str
    ) -> None:
        def part() -> None:
            if statement == "set_rollback":
                transaction.set_rollback(True)
                return
            with connection.cursor() as cursor:
                if statement == "broken":
                    with contextlib.suppress(DatabaseError):
                        cursor.execute("select 1/0")
                else:
                    cursor.execute(statement)

        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            current_execution().step("one", part)

        with pytest.raises(
            transaction.TransactionManagementError, match=r"step 'one' broke.*atomic"
        ):
            task()
        assert steps() == []
        assert TaskExecution.objects.get().state == "failed"


class TestReleased:
    def held(self) -> Stepwise:
        stepwise = Stepwise(fail, at=3, guarantee="at_most_once")
        with pytest.raises(ValueError, match="not this time"):
            stepwise.task()
        with pytest.raises(ExecutionHeld):
            stepwise.task()
        return stepwise

    def test_as_failed_it_goes_on_behind_its_steps(self) -> None:
        stepwise = self.held()
        release(TaskExecution.objects.get().key, "failed", reason="the third is not done")
        assert stepwise.task() == [10, 20, 30]
        assert stepwise.calls == [(1, 1), (1, 2), (1, 3), (2, 3)]

    def test_as_retired_it_does_all_of_them_anew(self) -> None:
        stepwise = self.held()
        release(TaskExecution.objects.get().key, "retired", reason="all anew")
        stepwise.calls.append((0, 0))  # trouble is over
        assert stepwise.task() == [10, 20, 30]
        assert stepwise.calls[4:] == [(1, 1), (1, 2), (1, 3)]


def test_the_database_itself_keeps_a_step_from_being_recorded_twice(session: Sessions) -> None:
    Stepwise().task()
    with pytest.raises(psycopg.errors.UniqueViolation, match="ledger_step_once"):
        session().execute(
            "insert into ledger_executionstep (execution_id, name, attempt, completed_at)"
            " select execution_id, name, 9, now() from ledger_executionstep limit 1"
        )
