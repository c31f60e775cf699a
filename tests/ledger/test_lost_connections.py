"""The database goes away: nothing is lost, nothing is done twice, and nobody is told a lie."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from celery import shared_task
from celery.exceptions import Reject, Retry
from django.db import OperationalError, connection, connections, transaction

from ledger import (
    LedgerUnavailable,
    current_execution,
    idempotent_task,
    recent,
    run_lock,
    store,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.death import die, dies
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits, commits_in_both
from tests.testapp.models import Effect

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]
where = {"alias": "default"}
"""Which database ``wandering`` and ``alert`` are recorded in."""


@pytest.fixture
def nowhere(transactional_db: None) -> Iterator[str]:
    """A database alias that leads to a port where nobody listens."""
    lost = connections["second"]
    lost.close()
    address = {name: lost.settings_dict[name] for name in ("HOST", "PORT")}
    lost.settings_dict.update(HOST="127.0.0.1", PORT="1")
    yield "second"
    where["alias"] = "default"
    lost.close()
    lost.settings_dict.update(address)


@shared_task(bind=True, max_retries=1)
@idempotent_task(using=lambda number: where["alias"])
def wandering(self: Any, number: int) -> int:
    Effect.objects.create(key=str(number), note=str(self.request.retries))
    return number


@shared_task(bind=True)
@idempotent_task(using=lambda number: where["alias"], on_ledger_error="run")
def alert(self: Any, number: int) -> tuple[int, str]:
    Effect.objects.create(key=str(number))
    return current_execution().attempt, current_execution().key


@idempotent_task()
def pay(employee: int) -> int:
    return Effect.objects.create(key=str(employee)).pk


def end_my_session(server: psycopg.Connection) -> None:
    """As an administrator, or a fail-over, ends this thread's connection while it is idle."""
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    assert server.execute("select pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (True,)


class TestWhileIdle:
    def test_the_next_call_just_works(self, session: Sessions) -> None:
        connection.ensure_connection()
        end_my_session(session())
        assert isinstance(pay(7), int)
        assert TaskExecution.objects.get().attempt == 1

    @pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
    def test_so_it_does_where_the_server_became_a_standby(self, guarantee: str) -> None:
        @idempotent_task(guarantee=guarantee)
        def task(number: int) -> int:
            return number

        assert task(1) == 1
        with run_lock.borrowed(connection.alias) as line:
            its_own = connection if guarantee == "exactly_once" else line
            its_own.cursor().execute("set default_transaction_read_only = on")
        assert task(2) == 2

    def test_so_does_a_duplicate(self, session: Sessions) -> None:
        first = pay(7)
        end_my_session(session())
        assert pay(7) == first
        end_my_session(session())
        recent._completed.clear()
        assert pay(7) == first

    def test_a_call_within_a_transaction_is_told(self, session: Sessions) -> None:
        """What the transaction did before is gone: to go on on a new connection would be a lie."""

        def loses_its_connection_half_way() -> None:
            with transaction.atomic():
                Effect.objects.create(key="before")
                end_my_session(session())
                pay(7)

        with pytest.raises(LedgerUnavailable):
            loses_its_connection_half_way()
        assert not Effect.objects.exists()
        assert isinstance(pay(7), int)


class TestDuringTheRun:
    @pytest.fixture(autouse=True)
    def connected(self, transactional_db: None) -> None:
        """A connection that was open before might be taken for one that had gone stale."""
        connection.ensure_connection()

    def test_nothing_is_committed_and_the_next_call_runs_it(self) -> None:
        runs: list[int] = []

        @idempotent_task()
        def task() -> str:
            runs.append(current_execution().attempt)
            Effect.objects.create(key="written")
            if len(runs) == 1:
                die()
            return "done"

        with pytest.raises(
            LedgerUnavailable, match=r"idempotent:.*'default'.*run it again"
        ) as told:
            task()
        assert isinstance(told.value, OperationalError)
        assert isinstance(told.value.__cause__, OperationalError)
        assert not Effect.objects.exists()
        assert not ExecutionEvent.objects.exists()  # an outage is no failure
        assert task() == "done"
        assert runs == [1, 2]
        assert Effect.objects.count() == 1

    def test_a_body_that_swallows_it_is_not_completed(self) -> None:
        @idempotent_task()
        def stubborn() -> str:
            Effect.objects.create(key="written")
            with pytest.raises(OperationalError):
                die()
            return "all is well"

        dies(stubborn)
        assert not Effect.objects.exists()
        assert TaskExecution.objects.get().state == State.RUNNING

    def test_a_body_that_makes_another_error_of_it_is_not_failed(self) -> None:
        @idempotent_task()
        def eloquent() -> None:
            try:
                die()
            except OperationalError as error:
                raise ValueError("could not pay") from error

        dies(eloquent)
        assert TaskExecution.objects.get().state == State.RUNNING

    def test_on_ledger_error_run_does_not_run_a_body_twice(self) -> None:
        runs: list[int] = []

        @idempotent_task(on_ledger_error="run")
        def task() -> None:
            runs.append(1)
            die()

        dies(task)
        assert runs == [1]

    def test_in_the_callers_transaction_the_caller_is_told_the_same(self) -> None:
        @idempotent_task()
        def task() -> None:
            die()

        with pytest.raises(LedgerUnavailable), transaction.atomic():
            task()
        assert not TaskExecution.objects.exists()

    def test_so_is_an_outer_execution(self) -> None:
        @idempotent_task()
        def inner() -> None:
            die()

        @idempotent_task()
        def outer() -> None:
            inner()

        dies(outer)
        assert TaskExecution.objects.get().state == State.RUNNING

    def test_a_commit_whose_answer_was_lost_is_found_by_the_next_call(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        complete = store.complete

        def complete_and_lose_the_answer(*args: Any, **kwargs: Any) -> None:
            complete(*args, **kwargs)
            raise OperationalError("the network went away")

        monkeypatch.setattr(store, "complete", complete_and_lose_the_answer)
        dies(pay, 7)
        monkeypatch.undo()

        assert pay(7) == Effect.objects.get().pk
        assert not ExecutionEvent.objects.exclude(kind="skipped").exists()

    def test_an_error_of_a_living_database_is_a_failure_and_no_outage(self) -> None:
        """Django calls a timeout, a deadlock or a full disk operational too."""

        @idempotent_task()
        def slow_query() -> None:
            with connection.cursor() as cursor:
                cursor.execute("set local statement_timeout = '1ms'")
                cursor.execute("select pg_sleep(1)")

        with pytest.raises(OperationalError, match="statement timeout") as raised:
            slow_query()
        assert not isinstance(raised.value, LedgerUnavailable)
        assert TaskExecution.objects.get().state == State.FAILED


@commits_in_both
class TestUnreachable:
    def test_a_direct_call_does_not_run_unprotected(
        self, nowhere: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        where["alias"] = nowhere
        with caplog.at_level(logging.ERROR, "ledger"), pytest.raises(LedgerUnavailable) as told:
            wandering(7)
        assert "'second'" in str(told.value)
        assert "idempotent:" in str(told.value)
        assert not Effect.objects.exists()
        assert [r.ledger_outcome for r in caplog.records] == ["unreachable"]  # type: ignore[attr-defined]

    def test_run_runs_it_unprotected_and_says_so_loudly(
        self, nowhere: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        where["alias"] = nowhere
        with caplog.at_level(logging.INFO, "ledger"):
            attempt, key = alert(7)
        assert attempt == 0
        assert key.startswith("idempotent:")
        assert Effect.objects.count() == 1
        (record,) = caplog.records
        assert (record.levelno, record.ledger_outcome) == (logging.CRITICAL, "unprotected")  # type: ignore[attr-defined]
        assert "RUNS UNPROTECTED" in record.message

    def test_run_leaves_the_bodys_own_error_alone(self, nowhere: str) -> None:
        @idempotent_task(using=nowhere, on_ledger_error="run")
        def failing() -> None:
            raise ValueError("its own")

        with pytest.raises(ValueError, match="its own"):
            failing()

    def test_run_is_protected_where_the_database_is_there(self) -> None:
        assert alert(7)[0] == 1
        assert alert(7)[0] == 1
        assert Effect.objects.count() == 1

    def test_a_ledger_that_was_never_installed_says_so(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("alter function ledger_lock(text) rename to ledger_lock_gone")
        try:
            with pytest.raises(
                Exception, match=r"(?s)not installed in database '\w+'.*migrate ledger"
            ):
                pay(7)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("alter function ledger_lock_gone(text) rename to ledger_lock")


@commits_in_both
class TestMessages:
    def test_a_message_published_once_outlives_the_outage(self, nowhere: str, inbox: Inbox) -> None:
        sent = wandering.apply_async((7,), headers={"ledger_period": "2026-11-01"})
        where["alias"] = nowhere
        for copies in (1, 2, 3):
            arrived = inbox.take()
            assert isinstance(arrived.run(), Retry)
            copy = inbox.take()
            assert copy.headers["id"] == copy.headers["root_id"] == sent.id
            assert copy.headers["retries"] == 0  # the user's own are not used up
            assert copy.headers["ledger_copies"] == copies
            assert copy.headers["ledger_period"] == "2026-11-01"
            assert copy.headers["eta"] is not None
            assert inbox.is_empty
            copy.lose()
        assert not Effect.objects.exists()

        where["alias"] = "default"
        assert inbox.take().run() == 7
        assert Effect.objects.get().note == "0"
        assert inbox.is_empty
        assert TaskExecution.objects.get().task_id == sent.id

    def test_so_does_one_whose_connection_broke_in_the_body(self, inbox: Inbox) -> None:
        fragile.delay()
        assert isinstance(inbox.take().run(), Retry)
        assert not Effect.objects.exists()
        assert inbox.take().run() == 2
        assert Effect.objects.count() == 1

    def test_where_no_copy_can_be_published_the_broker_keeps_the_message(
        self, nowhere: str, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wandering.delay(7)
        where["alias"] = nowhere
        arrived = inbox.take()

        def broken(*args: Any, **kwargs: Any) -> None:
            raise ConnectionError("no broker either")

        monkeypatch.setattr("celery.canvas.Signature.apply_async", broken)
        outcome = arrived.run()
        monkeypatch.undo()

        assert isinstance(outcome, Reject)
        assert outcome.requeue  # type: ignore[attr-defined]
        where["alias"] = "default"
        assert inbox.take().run() == 7

    def test_run_runs_a_message_unprotected(self, nowhere: str, inbox: Inbox) -> None:
        alert.delay(7)
        where["alias"] = nowhere
        assert inbox.take().run()[0] == 0
        assert inbox.is_empty


@shared_task
@idempotent_task()
def fragile() -> int:
    Effect.objects.create(key="written")
    if current_execution().attempt == 1:
        die()
    return current_execution().attempt
