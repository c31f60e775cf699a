"""What a body may do in its transaction, and what happens to what it does."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task, shared_task
from celery.exceptions import Ignore, Reject
from django.db import DatabaseError, IntegrityError, connection, transaction

from ledger import (
    LedgerError,
    check_idempotency_status,
    current_execution,
    idempotent_task,
    non_idempotent,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.wire import Wire
from tests.testapp.models import Effect

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]


def run(body: Callable[[], Any]) -> Any:
    """Run a body under the ledger."""

    @idempotent_task()
    def task() -> Any:
        return body()

    return task()


def failed_with(error: str) -> TaskExecution:
    """The only execution: failed, its effects gone, its reason kept."""
    row = TaskExecution.objects.get()
    assert row.state == State.FAILED
    assert error in row.error
    event = row.events.get()
    assert event.kind == "failed"
    assert error in event.reason
    assert "Traceback" in event.traceback
    assert not Effect.objects.exists()
    return row


@shared_task(name="tests.bodies.leave_later")
@non_idempotent("does nothing")
def leave_later() -> None: ...


@shared_task(bind=True, name="tests.bodies.leave")
@idempotent_task()
def leave(self: Task, how: str) -> None:
    Effect.objects.create(key=how)
    if how == "Ignore":
        raise Ignore
    if how == "Reject":
        raise Reject("not this one", requeue=False)
    self.replace(leave_later.si())


@pytest.mark.parametrize("how", ["Ignore", "Reject", "replace"])
def test_celerys_ways_out_of_a_body_are_failures(inbox: Inbox, how: str) -> None:
    """They are exceptions, so what the body did is rolled back, and a next delivery runs it; but a
    replacement has been published."""
    leave.delay(how)
    inbox.take().run()
    failed_with("reject" if how == "Reject" else "Ignore")
    if how == "replace":
        assert inbox.take().message.headers["task"] == leave_later.name
    assert inbox.is_empty
    leave.delay(how)
    inbox.take().run()
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt) == (State.FAILED, 2)
    assert not Effect.objects.exists()


class TestFailures:
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("wrong"),
            KeyboardInterrupt("ctrl-c"),
            SystemExit(1),
            GeneratorExit("gone"),
            SoftTimeLimitExceeded("soft"),
            DatabaseError("said by the body itself"),
            ExceptionGroup("several", [ValueError("one"), TypeError("other")]),
        ],
        ids=repr,
    )
    def test_whatever_a_body_raises_is_recorded_and_raised_as_it_is(
        self, error: BaseException
    ) -> None:
        def body() -> None:
            Effect.objects.create(key="written before")
            raise error

        with pytest.raises(type(error)) as raised:
            run(body)
        assert raised.value is error
        failed_with(type(error).__name__)

    def test_the_cause_of_a_failure_is_kept(self) -> None:
        def body() -> None:
            try:
                raise KeyError("the cause")
            except KeyError as cause:
                raise ValueError("the symptom") from cause

        with pytest.raises(ValueError, match="the symptom"):
            run(body)
        event = ExecutionEvent.objects.get()
        assert "KeyError: 'the cause'" in event.traceback
        assert "ValueError: the symptom" in event.traceback

    def test_a_body_that_swallowed_a_database_error_commits_nothing(self) -> None:
        def body() -> str:
            Effect.objects.create(key="written before", pk=1)
            with contextlib.suppress(IntegrityError):
                Effect.objects.create(key="again", pk=1)
            return "all is well"

        with pytest.raises(transaction.TransactionManagementError, match=r"atomic\(\) block"):
            run(body)
        failed_with("left its transaction broken")

    def test_a_body_that_swallowed_a_raw_database_error_commits_nothing(self) -> None:
        def body() -> str:
            Effect.objects.create(key="written before")
            with contextlib.suppress(DatabaseError):
                connection.cursor().execute("select 1/0")
            return "all is well"

        with pytest.raises(DatabaseError, match="aborted"):
            run(body)
        failed_with("aborted")

    def test_a_body_that_asks_for_a_rollback_commits_nothing(self) -> None:
        def body() -> str:
            Effect.objects.create(key="written before")
            transaction.set_rollback(True)
            return "all is well"

        with pytest.raises(transaction.TransactionManagementError):
            run(body)
        failed_with("TransactionManagementError")

    @pytest.mark.parametrize("statement", ["commit", "rollback"])
    def test_a_body_that_ends_its_transaction_by_hand_is_not_completed(
        self, statement: str
    ) -> None:
        """It could no longer be undone, nor is its worker known to live."""

        def body() -> str:
            connection.cursor().execute(statement)
            Effect.objects.create(key="written after")
            return "all is well"

        with pytest.raises((LedgerError, DatabaseError)):
            run(body)
        assert TaskExecution.objects.get().state != State.COMPLETED

    def test_a_body_that_closes_its_connection_fails(self) -> None:
        def body() -> str:
            Effect.objects.create(key="written before")
            connection.close()
            return "all is well"

        with pytest.raises(transaction.TransactionManagementError):
            run(body)
        failed_with("TransactionManagementError")


class TestDeferredConstraints:
    @pytest.fixture(autouse=True)
    def debts(self, transactional_db: None) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute(
                "create table testapp_debt (effect bigint"
                " references testapp_effect deferrable initially deferred)"
            )
        yield
        with connection.cursor() as cursor:
            cursor.execute("drop table testapp_debt")

    def test_a_violation_at_commit_is_a_failure_and_nothing_is_committed(self) -> None:
        def body() -> str:
            Effect.objects.create(key="written before")
            connection.cursor().execute("insert into testapp_debt values (-1)")
            return "all is well"

        with pytest.raises(IntegrityError, match="testapp_debt"):
            run(body)
        failed_with("IntegrityError")
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from testapp_debt")
            assert cursor.fetchone() == (0,)

    def test_what_is_settled_by_the_commit_commits(self) -> None:
        def body() -> int:
            connection.cursor().execute("insert into testapp_debt values (7)")
            return Effect.objects.create(pk=7).pk

        assert run(body) == 7
        assert TaskExecution.objects.get().state == State.COMPLETED


class TestOnCommit:
    def test_a_bodys_hooks_run_once_its_effects_are_committed(self, session: Sessions) -> None:
        seen: list[Any] = []

        def look() -> None:
            seen.append(
                session()
                .execute(
                    "select state, (select count(*) from testapp_effect) from ledger_taskexecution"
                )
                .fetchone()
            )

        def body() -> None:
            Effect.objects.create(key="written")
            transaction.on_commit(look)
            assert seen == []

        run(body)
        assert seen == [("completed", 1)]

    def test_a_failed_bodys_hooks_do_not_run(self) -> None:
        seen: list[int] = []

        def body() -> None:
            transaction.on_commit(lambda: seen.append(1))
            raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            run(body)
        assert seen == []

    def test_a_hook_that_raises_does_not_undo_the_completion(self) -> None:
        def hook() -> None:
            raise RuntimeError("the mail server is down")

        runs: list[int] = []

        @idempotent_task()
        def task() -> str:
            runs.append(1)
            Effect.objects.create(key="written")
            transaction.on_commit(hook)
            return "done"

        with pytest.raises(RuntimeError, match="mail server"):
            task()
        assert TaskExecution.objects.get().state == State.COMPLETED
        assert not ExecutionEvent.objects.filter(kind="failed").exists()
        assert Effect.objects.count() == 1
        assert task() == "done"
        assert runs == [1]


class TestTheTransaction:
    def test_savepoints_in_the_body_work(self) -> None:
        def body() -> None:
            Effect.objects.create(key="kept")
            try:
                with transaction.atomic():
                    Effect.objects.create(key="undone")
                    raise ValueError
            except ValueError:
                pass
            with transaction.atomic():
                Effect.objects.create(key="kept too")

        run(body)
        assert sorted(Effect.objects.values_list("key", flat=True)) == ["kept", "kept too"]

    def test_a_database_error_in_a_savepoint_can_be_survived(self) -> None:
        def body() -> str:
            Effect.objects.create(pk=1)
            try:
                with transaction.atomic():
                    Effect.objects.create(pk=1)
            except IntegrityError:
                return "survived"
            return "no error"

        assert run(body) == "survived"
        assert Effect.objects.count() == 1

    def test_server_side_cursors_work_in_the_body(self, wire: Wire) -> None:
        Effect.objects.bulk_create(Effect(key=str(i)) for i in range(500))

        def body() -> int:
            total = 0
            for effect in Effect.objects.order_by("pk").iterator(chunk_size=100):
                total += int(effect.key)
                if effect.key == "499":
                    Effect.objects.create(key="500")
            return total

        with wire.watched() as traffic:
            assert run(body) == sum(range(500))
        assert any("DECLARE" in sent for sent in traffic.sent)
        assert Effect.objects.count() == 501

    def test_an_iterator_left_unfinished_does_not_keep_the_run_from_completing(self) -> None:
        Effect.objects.bulk_create(Effect(key=str(i)) for i in range(500))

        def body() -> str:
            return next(Effect.objects.order_by("pk").iterator(chunk_size=10)).key

        assert run(body) == "0"

    def test_rows_can_be_locked_in_the_body(self) -> None:
        Effect.objects.create(key="account")

        def body() -> str:
            return Effect.objects.select_for_update().get(key="account").key

        assert run(body) == "account"

    def test_djangos_connection_is_in_its_usual_state_afterwards(self) -> None:
        run(lambda: Effect.objects.create(key="x").pk)
        assert connection.get_autocommit()
        assert not connection.in_atomic_block
        assert connection.connection.autocommit
        assert connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        Effect.objects.create(key="by itself")
        connection.close()
        assert Effect.objects.count() == 2

    def test_so_it_is_after_a_failure(self) -> None:
        def body() -> None:
            connection.cursor().execute("select 1/0")

        with pytest.raises(DatabaseError):
            run(body)
        assert connection.get_autocommit()
        assert connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with transaction.atomic():
            Effect.objects.create(key="undone")
            transaction.set_rollback(True)
        assert not Effect.objects.exists()


class TestCurrentExecution:
    def test_it_knows_key_attempt_and_period(self) -> None:
        @idempotent_task(date_based=True)
        def task(employee: int) -> tuple[str, int, dt.date | None]:
            execution = current_execution()
            return execution.key, execution.attempt, execution.period

        key, attempt, period = task(7)
        row = TaskExecution.objects.get()
        assert (key, attempt, str(period)) == (row.key, 1, row.period)

    def test_the_idempotency_key_is_the_same_for_every_attempt_and_another_after_clearing(
        self,
    ) -> None:
        from ledger import clear_idempotency_key

        seen: list[str] = []

        @idempotent_task()
        def task(employee: int) -> None:
            seen.append(current_execution().idempotency_key)
            if len(seen) == 1:
                raise ValueError("once")

        with pytest.raises(ValueError, match="once"):
            task(7)
        task(7)
        assert seen[0] == seen[1]
        task(8)
        assert seen[2] != seen[0]
        clear_idempotency_key(f"{task.__module__}.{task.__qualname__}", [7])
        task(7)
        assert len(set(seen)) == 3

    def test_outside_of_a_body_there_is_none(self) -> None:
        with pytest.raises(LedgerError, match="outside of a decorated body"):
            current_execution()
        run(lambda: None)
        with pytest.raises(LedgerError):
            current_execution()

    def test_the_status_of_a_running_execution_can_be_asked_from_its_body(self) -> None:
        @idempotent_task()
        def task() -> Any:
            return check_idempotency_status(f"{task.__module__}.{task.__qualname__}")["state"]

        assert task() == "running"
