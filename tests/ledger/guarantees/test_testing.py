"""``ledger.testing``: what users test their tasks with does what it says, and notices faults."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Task, current_app, shared_task
from celery.exceptions import Retry
from django.conf import settings
from django.db import connection

from ledger import DuplicateExecution, current_execution, idempotent_daily_task, idempotent_task
from ledger.models import ExecutionEvent, State, TaskExecution
from ledger.testing import Clock, assert_runs_once, crash_at, deliver_twice, plugin
from ledger.testing.worker import workers
from tests.ledger.guarantees.sessions import ours
from tests.ledger.guarantees.tasks import least, most
from tests.ledger.marks import commits
from tests.testapp.models import Effect
from tests.workers import wait_until

BOTH_DATABASES = pytest.mark.parametrize(
    "database",
    [
        pytest.param("rolled back", marks=pytest.mark.django_db),
        pytest.param("committed", marks=commits),
    ],
)


@shared_task(bind=True)
@idempotent_task()
def pay(self: Task, number: int, *, note: str = "") -> tuple[int, str]:
    Effect.objects.create(key=str(number), note=note)
    return number, note


@shared_task(bind=True)
@idempotent_task(skip_on_duplicate=False)
def strict(self: Task, number: int) -> int:
    Effect.objects.create(key=str(number))
    return number


@shared_task
def unprotected(number: int) -> int:
    return Effect.objects.create(key=str(number)).pk


@shared_task(bind=True, max_retries=3)
@idempotent_task()
def unready(self: Task, number: int) -> None:
    raise self.retry(countdown=0)


class TestDeliverTwice:
    @BOTH_DATABASES
    def test_one_message_is_delivered_twice_and_answered_twice(self, database: str) -> None:
        first, second = deliver_twice(pay, 7, note="November")
        assert first == (7, "November")
        assert second == [7, "November"]  # as a result backend would return it
        assert Effect.objects.count() == 1
        row = TaskExecution.objects.get()
        assert (row.state, row.attempt, bool(row.task_id)) == ("completed", 1, True)
        event = ExecutionEvent.objects.get()
        assert (event.kind, event.task_id) == ("skipped", row.task_id)

    @commits
    @pytest.mark.parametrize("task", [least, most])
    def test_the_other_guarantees_too(self, task: Any) -> None:
        first, second = deliver_twice(task, "a")
        assert first == second
        assert Effect.objects.count() == 1

    @pytest.mark.django_db
    def test_what_is_not_under_the_ledger_runs_twice(self) -> None:
        first, second = deliver_twice(unprotected, 7)
        assert first != second

    @pytest.mark.django_db
    def test_a_worker_sees_its_second_delivery_as_redelivered(self) -> None:
        seen = []

        @shared_task(bind=True)
        def looking(self: Any) -> None:
            seen.append((self.request.delivery_info["redelivered"], self.request.is_eager))

        deliver_twice(looking)
        assert seen == [(False, False), (True, False)]

    @pytest.mark.django_db
    def test_the_business_date_is_pinned_as_for_a_worker(self) -> None:
        @shared_task
        @idempotent_daily_task()
        def daily() -> dt.date | None:
            return current_execution().period

        first, second = deliver_twice(daily)
        assert first == second
        assert str(first) == TaskExecution.objects.get().period

    @commits
    def test_it_is_delivered_here_also_while_a_worker_takes_messages(
        self, ledger_worker: Any
    ) -> None:
        ledger_worker(include=["tests.ledger.guarantees.tasks"])
        first, second = deliver_twice(pay, 7, note="November")
        assert (first, second) == ((7, "November"), [7, "November"])
        assert not TaskExecution.objects.get().worker.startswith("worker1-")

    @pytest.mark.django_db
    def test_what_a_delivery_raises_is_raised(self) -> None:
        with pytest.raises(DuplicateExecution):
            deliver_twice(strict, 7)
        with pytest.raises(TypeError, match="number"):
            deliver_twice(pay)

    @commits
    def test_a_retry_is_raised_too(self, inbox: Any) -> None:
        with pytest.raises(Retry):
            deliver_twice(unready, 7)

    @pytest.mark.django_db
    def test_eager_projects_get_real_messages_too(self) -> None:
        current_app.conf.task_always_eager = True
        try:
            deliver_twice(pay, 7)
            assert TaskExecution.objects.get().task_id
        finally:
            current_app.conf.task_always_eager = False

    @pytest.mark.django_db
    def test_a_plain_function_has_no_message(self) -> None:
        with pytest.raises(TypeError, match="is not a Celery task"):
            deliver_twice(lambda: None)  # type: ignore[arg-type]


@pytest.mark.django_db
class TestAssertRunsOnce:
    def test_it_returns_the_result(self) -> None:
        assert assert_runs_once(pay, 7, note="a", effects=Effect.objects.count) == (7, "a")

    def test_strict_tasks_run_once_as_well(self) -> None:
        assert assert_runs_once(strict, 7) == 7

    def test_a_task_without_the_ledger_is_refused(self) -> None:
        with pytest.raises(TypeError, match="unprotected' is not a Celery task under the ledger"):
            assert_runs_once(unprotected, 7)

    def test_a_call_that_was_executed_before_proves_nothing(self) -> None:
        pay(7)
        with pytest.raises(AssertionError, match="did not run: an execution of this key is there"):
            assert_runs_once(pay, 7)

    def test_effects_that_measure_nothing_prove_nothing(self) -> None:
        with pytest.raises(AssertionError, match="measures nothing"):
            assert_runs_once(pay, 7, effects=lambda: 0)

    def test_an_effect_of_the_second_delivery_is_noticed(self) -> None:
        deliveries = iter(range(9))
        with pytest.raises(AssertionError, match=r"was 1 after the first .* and 2 after"):
            assert_runs_once(pay, 7, effects=lambda: next(deliveries))

    def test_a_second_run_is_noticed(self) -> None:
        @shared_task
        @idempotent_task()
        def forgetful(number: int) -> int:
            return number

        def forget() -> int:
            TaskExecution.objects.filter(state=State.COMPLETED, retired_at=None).update(
                retired_at=dt.datetime.now(dt.UTC)
            )
            return Effect.objects.count()

        with pytest.raises(AssertionError, match="forgetful ran 2 times for one message"):
            assert_runs_once(forgetful, 7, effects=forget)

    def test_another_answer_to_the_second_is_noticed(self) -> None:
        @shared_task
        @idempotent_task()
        def changing() -> list[int]:
            given.append(1)
            return given

        given: list[int] = []
        with pytest.raises(AssertionError, match=r"changing returned \[.*\], and to its duplicate"):
            assert_runs_once(changing, effects=Growing(given).measure)


class Growing:
    """Changes a result after it was stored, once."""

    def __init__(self, given: list[int]) -> None:
        self.given = given
        self.measured = 0

    def measure(self) -> int:
        self.measured += 1
        if self.measured == 2:
            self.given.append(3)
        return min(self.measured, 2)


class TestCrashAt:
    @commits
    def test_a_worker_dies_at_each_point_and_its_message_is_answered(
        self, ledger_worker: Any
    ) -> None:
        ledger_worker(include=["tests.ledger.guarantees.tasks"])
        attempts = {}
        points = ("after_claim", "in_body", "before_commit", "after_commit", "before_ack")
        for point in points:
            with crash_at(point) as crash:
                result = least.delay(point)
            crash.wait()
            attempts[point] = result.get(timeout=30)["attempt"]
            assert crash.happened == 1

        assert attempts == {
            "after_claim": 2, "in_body": 2, "before_commit": 2, "after_commit": 1, "before_ack": 1
        }  # fmt: skip
        counts = {point: Effect.objects.filter(key=point).count() for point in points}
        assert counts == {
            "after_claim": 1, "in_body": 2, "before_commit": 2, "after_commit": 1, "before_ack": 1
        }  # fmt: skip

    def test_an_unknown_point_is_refused(self) -> None:
        with (
            pytest.raises(ValueError, match=r"point='later'.*after_claim, in_body.*before_ack"),
            crash_at("later"),
        ):
            pass

    @commits
    def test_nobody_else_obeys_and_that_is_said(self, inbox: Any) -> None:
        with crash_at("in_body") as crash:
            least.delay("a")
        assert inbox.take().run()["attempt"] == 1
        assert crash.happened == 0
        with pytest.raises(AssertionError, match=r"0 of 1 .* 'in_body' .*ledger_worker"):
            crash.wait(timeout=0.1)

    @commits
    def test_what_is_published_outside_of_the_block_crashes_nothing(self, inbox: Any) -> None:
        with crash_at("in_body"):
            pass
        least.delay("a")
        assert "ledger_crash" not in inbox.take().headers


class TestClock:
    @BOTH_DATABASES
    def test_it_moves_the_databases_time_and_puts_it_back(self, database: str) -> None:
        clock = Clock()
        clock.forward(hours=24, seconds=1)
        assert clock.now() - dt.datetime.now(dt.UTC) > dt.timedelta(hours=23)
        clock.forward(hours=-48)
        assert dt.datetime.now(dt.UTC) - clock.now() > dt.timedelta(hours=22)
        clock.back()
        assert abs(clock.now() - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)

    @commits
    def test_the_function_is_afterwards_what_it_was(self, ledger_clock: Clock) -> None:
        def definition() -> str:
            with connection.cursor() as cursor:
                cursor.execute("select prosrc from pg_proc where proname = 'ledger_now'")
                return str(cursor.fetchone()[0])

        before = definition()
        ledger_clock.forward(days=1)
        assert definition() != before
        ledger_clock.back()
        assert definition() == before


class TestPlugin:
    @commits
    def test_a_test_leaves_no_lock_connection_behind(self, pytestconfig: Any, session: Any) -> None:
        """Or Django could not drop the test database. Teardown is called by hand, to be seen."""
        server = session()
        before = ours(server)
        fixture: Any = plugin._ledger_lets_go
        teardown = fixture.__wrapped__()
        next(teardown)
        least("a")
        assert ours(server) - before
        next(teardown, None)
        wait_until(lambda: ours(server) <= before)

    def test_it_can_be_imported_without_pytest_and_without_settings(self) -> None:
        code = (
            "import sys; sys.modules['pytest'] = None\n"
            "import ledger.testing\n"
            "assert callable(ledger.testing.assert_runs_once)"
        )
        root = Path(__file__).parents[3]
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PATH": "", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_the_ledger_itself_never_imports_it(self) -> None:
        code = (
            "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'core.settings'\n"
            "import django; django.setup()\n"
            "import ledger, ledger.tasks, ledger.admin\n"
            "print([name for name in sys.modules if name.startswith('ledger.testing')])"
        )
        root = Path(__file__).parents[3]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        )
        assert done.stdout == "[]\n"

    @commits
    def test_nothing_stays_behind_on_the_broker(self, broker: None, tmp_path: Path) -> None:
        if not settings.CELERY_BROKER_URL.startswith("redis"):
            pytest.skip("RabbitMQ drops the queue by itself")
        with workers("core.celery:app", tmp_path) as started:
            started(include=["tests.ledger.guarantees.tasks"])
            assert least.delay("a").get(timeout=30)["attempt"] == 1
            least.delay("b")
            name = started.queue
        with current_app.connection() as connected:
            channel: Any = connected.default_channel
            client = redis.Redis(connection_pool=channel.client.connection_pool)
            assert [key for key in client.scan_iter(count=1000) if name.encode() in key] == []

    @commits
    def test_a_broker_in_memory_is_refused_with_the_remedy(self, tmp_path: Path) -> None:
        app: Any = current_app
        before = app.conf.broker_url
        app.conf.broker_url = "memory://"
        try:
            with (
                pytest.raises(RuntimeError, match=r"memory.*Redis or RabbitMQ of their own"),
                workers("core.celery:app", tmp_path),
            ):
                pass
        finally:
            app.conf.broker_url = before
