"""The claim is durable before the body, the lock waits elsewhere, and then comes the completion."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection, transaction

from ledger import (
    ExecutionInProgress,
    OpenTransaction,
    check_idempotency_status,
    current_execution,
    idempotent_task,
)
from ledger.models import TaskExecution
from tests.ledger.guarantees.locks import holder
from tests.ledger.guarantees.sessions import column, is_locked
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, at_once, wait_for
from tests.testapp.models import Effect

pytestmark = [commits, pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])]

Sessions = Callable[[], psycopg.Connection]


def test_the_claim_is_committed_and_locked_before_the_body_runs(
    guarantee: str, session: Sessions
) -> None:
    seen = []

    @idempotent_task(guarantee=guarantee)
    def task(number: int) -> str:
        other = session()
        key = current_execution().key
        seen.append(
            other.execute(
                "select state, attempt, guarantee from ledger_taskexecution where key = %s", [key]
            ).fetchone()
        )
        assert is_locked(other, key)
        return key

    key = task(7)

    assert seen == [("running", 1, guarantee)]
    assert holder(key) is None
    assert TaskExecution.objects.get().state == "completed"


def test_the_waiting_lock_holds_back_no_vacuum_and_no_other_session(
    guarantee: str, session: Sessions
) -> None:
    seen = []

    @idempotent_task(guarantee=guarantee)
    def task() -> None:
        pid = holder(current_execution().key)
        assert pid != connection.connection.info.backend_pid
        seen.append(
            session()
            .execute(
                "select state, backend_xid, backend_xmin, (select count(*) from pg_locks"
                " where pg_locks.pid = a.pid and locktype not in ('advisory', 'virtualxid'))"
                " from pg_stat_activity a where pid = %s",
                [pid],
            )
            .fetchone()
        )

    task()

    assert seen == [("idle in transaction", None, None, 0)]


def test_the_body_keeps_djangos_ordinary_autocommit(guarantee: str, session: Sessions) -> None:
    @idempotent_task(guarantee=guarantee)
    def task() -> list[list[str]]:
        Effect.objects.create(key="at once")
        first = column(session(), "select key from testapp_effect")
        with transaction.atomic():
            Effect.objects.create(key="together")
            second = column(session(), "select key from testapp_effect")
        return [first, second]

    assert task() == [["at once"], ["at once"]]
    assert Effect.objects.count() == 2


def test_a_duplicate_is_answered_with_the_stored_result(guarantee: str) -> None:
    runs = []

    @idempotent_task(guarantee=guarantee)
    def task(number: int) -> str:
        runs.append(number)
        return current_execution().idempotency_key

    assert task(7) == task(7) == task(7)
    assert task(8) != task(7)
    assert runs == [7, 8]
    row = TaskExecution.objects.order_by("id")[0]
    assert (row.state, row.attempt, row.guarantee) == ("completed", 1, guarantee)
    assert list(row.events.values_list("kind", flat=True)) == ["skipped"] * 3


def test_of_many_at_once_one_runs_and_the_others_are_answered_or_told(guarantee: str) -> None:
    inside, go_on = threading.Event(), threading.Event()

    @idempotent_task(guarantee=guarantee)
    def task() -> str:
        Effect.objects.create(key="paid")
        inside.set()
        wait_for(go_on)
        return "paid"

    with Elsewhere() as elsewhere:
        first = elsewhere.call(task)
        wait_for(inside)
        outcomes = at_once(6, lambda i: task())
        go_on.set()
        assert first.result(PATIENCE) == "paid"

    assert [type(outcome) for outcome in outcomes] == [ExecutionInProgress] * 6
    assert task() == "paid"
    assert Effect.objects.count() == 1


class TestOpenTransactions:
    def test_one_is_refused_with_its_remedy_and_nothing_is_claimed(self, guarantee: str) -> None:
        @idempotent_task(guarantee=guarantee)
        def task() -> None:
            raise AssertionError

        remedy = rf"idempotent:.*{guarantee}.*'default'.*outside of atomic\(\).*on_commit"
        with pytest.raises(OpenTransaction, match=remedy), transaction.atomic():
            task()
        assert not TaskExecution.objects.exists()

    def test_one_begun_by_hand_is_refused(self, guarantee: str) -> None:
        @idempotent_task(guarantee=guarantee)
        def task() -> None:
            raise AssertionError

        with connection.cursor() as cursor:
            cursor.execute("begin")
            try:
                with pytest.raises(OpenTransaction):
                    task()
            finally:
                cursor.execute("rollback")
        assert not TaskExecution.objects.exists()

    def test_the_body_of_an_exactly_once_task_is_one(self, guarantee: str) -> None:
        @idempotent_task(guarantee=guarantee)
        def inner() -> None:
            raise AssertionError

        @idempotent_task()
        def outer() -> None:
            inner()

        with pytest.raises(OpenTransaction):
            outer()
        assert [row.state for row in TaskExecution.objects.all()] == ["failed"]

    def test_on_commit_is_the_way_out(self, guarantee: str) -> None:
        @idempotent_task(guarantee=guarantee)
        def task() -> None:
            Effect.objects.create(key="after the commit")

        with transaction.atomic():
            transaction.on_commit(task)
        assert Effect.objects.count() == 1


class TestNesting:
    def test_a_call_of_itself_is_refused(self, guarantee: str) -> None:
        @idempotent_task(guarantee=guarantee)
        def task(number: int) -> None:
            task(number)

        with pytest.raises(ExecutionInProgress, match="called itself"):
            task(7)

    def test_another_task_in_the_body_leaves_its_lock_alone(
        self, guarantee: str, session: Sessions
    ) -> None:
        other = session()

        @idempotent_task(guarantee=guarantee)
        def countdown(number: int) -> list[bool]:
            locked = [is_locked(other, current_execution().key)]
            if number:
                locked += countdown(number - 1)
            return [*locked, is_locked(other, current_execution().key)]

        assert countdown(3) == [True] * 8
        assert TaskExecution.objects.filter(state="completed").count() == 4

    def test_one_that_fails_in_the_body_leaves_its_lock_alone(
        self, guarantee: str, session: Sessions
    ) -> None:
        other = session()

        @idempotent_task(guarantee=guarantee)
        def failing() -> None:
            raise ValueError("inner")

        @idempotent_task(guarantee=guarantee)
        def outer() -> bool:
            with pytest.raises(ValueError, match="inner"):
                failing()
            return is_locked(other, current_execution().key)

        assert outer() is True

    def test_an_exactly_once_task_in_the_body_commits_by_itself(
        self, guarantee: str, session: Sessions
    ) -> None:
        @idempotent_task()
        def inner() -> str:
            Effect.objects.create(key="inner")
            return "inner"

        @idempotent_task(guarantee=guarantee)
        def outer() -> list[str]:
            inner()
            return column(session(), "select key from testapp_effect")

        assert outer() == ["inner"]


def test_the_status_says_that_it_runs(guarantee: str) -> None:
    @idempotent_task(guarantee=guarantee)
    def task() -> str | None:
        name = f"{task.__module__}.{task.__qualname__}"
        state: str | None = check_idempotency_status(name)["state"]
        return state

    assert task() == "running"
