"""``dedupe_on_publish``: a certain duplicate costs no message; nothing else is lost or changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from celery import chain, group, shared_task
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule
from django.db import connection, transaction

from core.celery import app
from ledger import clear_idempotency_key, idempotent_task, make_idempotency_key
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.death import die
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for

pytestmark = commits


class Run:
    """What the bodies do: return at once, wait for the test, fail, or die."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        self.does: Callable[[], None] = lambda: None

    def wait(self) -> None:
        self.inside.set()
        wait_for(self.go_on)

    def fail(self) -> None:
        raise ValueError("not this time")


now: list[Run] = []


@shared_task(bind=True)
@idempotent_task(dedupe_on_publish=True)
def pay(self: Any, employee: int, month: int = 11) -> list[int]:
    now[0].does()
    return [employee, month]


@shared_task
@idempotent_task(dedupe_on_publish=True, guarantee="at_most_once")
def transfer(employee: int) -> int:
    now[0].does()
    return employee


@shared_task
@idempotent_task(dedupe_on_publish=True, key="employee")
def by_employee(employee: int, amount: int) -> int:
    return amount


@shared_task
@idempotent_task(dedupe_on_publish=True, period="day")
def daily(employee: int) -> int:
    return employee


@shared_task
@idempotent_task()
def always_published(employee: int) -> int:
    return employee


@pytest.fixture(autouse=True)
def run() -> Run:
    now[:] = [Run()]
    return now[0]


def was_published(inbox: Inbox, publish: Callable[[], Any]) -> bool:
    """Whether a message came of it; it is taken out of the queue."""
    publish()
    if inbox.is_empty:
        return False
    inbox.take().message.ack()
    return True


class TestCompleted:
    def test_the_stored_result_is_the_answer_and_nothing_is_published(self, inbox: Inbox) -> None:
        first = pay.delay(7)
        inbox.take().run()

        for again in (pay.delay(7), pay.apply_async((), {"employee": 7, "month": 11})):
            assert inbox.is_empty
            assert again.get(timeout=1) == [7, 11]
            assert (again.id, again.state) == (first.id, "SUCCESS")
        assert TaskExecution.objects.count() == 1

    def test_by_a_plain_call_as_well(self, inbox: Inbox) -> None:
        pay(7)
        again = pay.s(7).apply_async()
        assert inbox.is_empty
        assert again.get(timeout=1) == [7, 11]
        assert again.id

    def test_a_schedule_that_fires_twice_sends_one_message(self, inbox: Inbox) -> None:
        entry = ScheduleEntry("pay", pay.name, args=(7,), schedule=schedule(1), app=app)
        scheduler = Scheduler(app, lazy=True)
        scheduler.apply_async(entry, advance=False)
        inbox.take().run()
        scheduler.apply_async(entry, advance=False)
        assert inbox.is_empty

    def test_it_is_logged(self, inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
        pay(7)
        with caplog.at_level(logging.INFO, logger="ledger"):
            pay.delay(7)
        (record,) = [r for r in caplog.records if "not published" in r.getMessage()]
        assert record.__dict__["ledger_key"] == make_idempotency_key(pay.name, [7])
        assert record.__dict__["ledger_outcome"] == "not_published"


class TestRunning:
    @pytest.fixture(autouse=True)
    def it_goes_on(self, run: Run) -> Iterator[None]:
        run.does = run.wait
        yield
        run.go_on.set()

    @pytest.mark.parametrize("task", [pay, transfer])
    def test_in_a_message_that_message_answers(self, inbox: Inbox, run: Run, task: Any) -> None:
        first = task.delay(7)
        message = inbox.take()
        with Elsewhere() as elsewhere:
            running = elsewhere.call(message.run)
            wait_for(run.inside)

            again = task.delay(7)

            assert inbox.is_empty
            assert again.id == first.id
            run.go_on.set()
            assert again.get(timeout=PATIENCE) == running.result(PATIENCE)

    def test_in_a_plain_call_it_is_published_for_nothing_would_run_it_again(
        self, inbox: Inbox, run: Run
    ) -> None:
        with Elsewhere() as elsewhere:
            elsewhere.call(pay, 7)
            wait_for(run.inside)
            try:
                assert was_published(inbox, lambda: pay.delay(7))
            finally:
                run.go_on.set()


class TestDead:
    def dies(self, inbox: Inbox, run: Run) -> None:
        run.does = die
        pay.delay(7)
        inbox.take().run()
        inbox.take().message.ack()  # the copy is lost, too
        assert TaskExecution.objects.get().state == State.RUNNING

    def lock(self, session: psycopg.Connection, employee: int) -> None:
        key = make_idempotency_key(pay.name, [employee])
        session.execute("select pg_advisory_xact_lock(ledger_lock_id(%s))", [key])

    def test_it_is_published_though_others_run(
        self, inbox: Inbox, run: Run, session: Callable[[], psycopg.Connection]
    ) -> None:
        other = session()
        with other.transaction():
            self.lock(other, 8)
            self.dies(inbox, run)
            assert was_published(inbox, lambda: pay.delay(7))

    def test_it_is_published_though_somebody_looks_at_it(
        self, inbox: Inbox, run: Run, session: Callable[[], psycopg.Connection], clock: Clock
    ) -> None:
        """As recovery does, which will run nothing."""
        clock.forward(minutes=-1)  # a minute ago
        self.dies(inbox, run)
        clock.forward(minutes=1)
        looking = session()
        with looking.transaction():
            self.lock(looking, 7)
            assert was_published(inbox, lambda: pay.delay(7))


class TestPublishedAllTheSame:
    def test_other_work(self, inbox: Inbox) -> None:
        pay(7)
        assert was_published(inbox, lambda: pay.delay(8))
        assert was_published(inbox, lambda: pay.delay(7, month=12))

    def test_the_same_key_with_other_arguments(self, inbox: Inbox) -> None:
        by_employee(7, 100)
        assert not was_published(inbox, lambda: by_employee.delay(7, 100))
        assert was_published(inbox, lambda: by_employee.delay(7, 200))

    def test_another_day(self, inbox: Inbox) -> None:
        daily(7)
        yesterday = {"ledger_period": "2024-02-29"}
        assert not was_published(inbox, lambda: daily.delay(7))
        assert was_published(inbox, lambda: daily.apply_async((7,), headers=yesterday))

    def test_what_has_failed(self, inbox: Inbox, run: Run) -> None:
        run.does = run.fail
        with pytest.raises(ValueError, match="not this time"):
            pay(7)
        assert was_published(inbox, lambda: pay.delay(7))

    def test_what_is_held(self, inbox: Inbox, run: Run) -> None:
        run.does = run.fail
        with pytest.raises(ValueError, match="not this time"):
            transfer(7)
        assert TaskExecution.objects.get().state == State.HELD
        assert was_published(inbox, lambda: transfer.delay(7))

    def test_what_has_expired_or_was_cleared(self, inbox: Inbox, clock: Clock) -> None:
        pay(7)
        clear_idempotency_key(pay.name, [7])
        assert was_published(inbox, lambda: pay.delay(7))
        pay(7)
        clock.forward(hours=25)
        assert was_published(inbox, lambda: pay.delay(7))

    @pytest.mark.parametrize(
        "options",
        [{"task_id": "known-elsewhere"}, {"countdown": 60}, {"link": always_published.si(1)}],
        ids=lambda options: next(iter(options)),
    )
    def test_what_somebody_waits_for(self, inbox: Inbox, options: dict[str, Any]) -> None:
        pay(7)
        assert was_published(inbox, lambda: pay.apply_async((7,), **options))

    def test_the_parts_of_a_canvas(self, inbox: Inbox) -> None:
        pay(7)
        always = always_published.si(1)
        assert was_published(inbox, lambda: chain(pay.si(7), always).apply_async())
        group([pay.si(7), pay.si(7)]).apply_async()
        for _ in range(2):
            assert inbox.take().run() == [7, 11]

    def test_a_task_without_the_option(self, inbox: Inbox) -> None:
        always_published(7)
        assert was_published(inbox, lambda: always_published.delay(7))


class TestInATransaction:
    def test_it_is_published_for_what_it_sees_may_roll_back(self, inbox: Inbox) -> None:
        with transaction.atomic():
            pay(7)
            assert was_published(inbox, lambda: pay.delay(7))
            transaction.set_rollback(True)
        assert not TaskExecution.objects.exists()

    def test_after_its_commit_it_is_asked(self, inbox: Inbox) -> None:
        with transaction.atomic():
            pay(7)
            transaction.on_commit(lambda: pay.delay(7))
        assert inbox.is_empty


class TestErrors:
    def test_a_lost_database_stops_no_message(
        self, inbox: Inbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        pay(7)
        session = connection.connection.info
        with psycopg.connect(session.dsn, password=session.password, autocommit=True) as server:
            server.execute("select pg_terminate_backend(%s, 10000)", [session.backend_pid])
        assert was_published(inbox, lambda: pay.delay(7))
        assert "could not ask before publishing" in caplog.text
        connection.close()

    def test_arguments_that_make_no_key_are_celerys_business(self, inbox: Inbox) -> None:
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            pay.delay()  # type: ignore[call-arg]
        with pytest.raises(Exception, match="serializ"):
            pay.delay(object())  # type: ignore[arg-type]
        assert inbox.is_empty

    def test_asking_leaves_no_trace(self, inbox: Inbox) -> None:
        pay(7)
        before = TaskExecution.objects.values().get()
        pay.delay(7)
        assert not ExecutionEvent.objects.exists()
        assert TaskExecution.objects.values().get() == before
