"""How long an execution answers its duplicates, and how long its past can be read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import psycopg
import pytest
from celery import current_app
from django.conf import settings as configured
from django.db import connection, transaction
from pytest_django import Settings

from ledger import check_idempotency_status, idempotent_task
from ledger.evidence.models import Seal
from ledger.models import ExecutionEvent, State, TaskExecution
from ledger.sweep import recover, sweep
from ledger.tasks import recover as recover_task
from ledger.tasks import sweep as sweep_task
from tests.ledger.conftest import Clock
from tests.ledger.death import die, dies
from tests.ledger.marks import commits
from tests.ledger.test_claims import Slow
from tests.ledger.threads import PATIENCE, Elsewhere, at_once, wait_for
from tests.testapp.models import Effect
from tests.workers import wait_until

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]


@idempotent_task(ttl_hours=24)
def pay(employee: int) -> int:
    return Effect.objects.create(key=str(employee)).pk


@idempotent_task(ttl_hours=None)
def found_company(name: str) -> int:
    return Effect.objects.create(key=name).pk


@idempotent_task(ttl_hours=24)
def fail() -> None:
    raise ValueError("no")


@idempotent_task(ttl_hours=24)
def crash() -> None:
    die()


HISTORY_ROWS = 3000

# Retired long ago and to be kept for long yet, or held; no events and no steps, and so no seals of
# those.
HISTORY = """
    insert into ledger_taskexecution
        (key, task_name, args_hash, arguments, guarantee, state, attempt, crashes, task_id, root_id,
         worker, claimed_at, started_at, completed_at, expires_at, retired_at, retired_reason,
         error)
    select 'idempotent:old:' || n, 'old', '', '{}', 'exactly_once',
        case when ended is null then 'held' else 'completed' end, 1, 0, '', '', '', at, at, ended,
        ended, ended, case when ended is null then '' else 'expired' end, ''
    from (
        select n, at, case when n %% 1000 > 0 then at end as ended from (
            select n, ledger_now() - interval '300 days' + n * interval '1 second' as at
            from generate_series(1, %s) n
        ) claimed
    ) rows
"""

# As many sweeps leave behind.
SEALS = """
    insert into ledger_seal (id, sealed_at, kind, act, upto, ids, digests, opened, digest)
    select last.id + n, sealed_at, kind, act, upto, '{}', '', '{}', digest
    from generate_series(1, %s) n, lateral (
        select * from ledger_seal where kind = 'execution' order by id desc limit 1) last
"""


def rows_read() -> dict[str, int]:
    """By table of the ledger's, so far in this session."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0)"
            " from pg_stat_xact_user_tables where relname like 'ledger_%'"
        )
        return dict(cursor.fetchall())


class TestTheTtl:
    def test_an_expired_execution_is_retired_and_run_anew(self, clock: Clock) -> None:
        first = pay(7)
        clock.forward(hours=24, seconds=1)
        second = pay(7)

        assert second != first
        old, new = TaskExecution.objects.order_by("id")
        assert (old.state, old.retired_reason) == (State.COMPLETED, "expired")
        assert old.retired_at is not None
        assert (new.state, new.attempt, new.retired_at) == (State.COMPLETED, 1, None)
        assert pay(7) == second

    def test_it_counts_from_completion_by_the_databases_clock(self, clock: Clock) -> None:
        clock.forward(days=10)
        pay(7)
        row = TaskExecution.objects.get()
        assert row.completed_at is not None
        assert row.expires_at == row.completed_at + dt.timedelta(hours=24)
        ahead = row.completed_at - dt.datetime.now(dt.UTC)
        assert dt.timedelta(days=9, hours=23) < ahead < dt.timedelta(days=10, hours=1)

    def test_fractions_of_an_hour_count(self, clock: Clock) -> None:
        @idempotent_task(ttl_hours=0.5)
        def shortly() -> int:
            return Effect.objects.create(key="x").pk

        first = shortly()
        clock.forward(minutes=29)
        assert shortly() == first
        clock.forward(minutes=2)
        assert shortly() != first

    def test_without_a_ttl_it_never_expires(self, clock: Clock) -> None:
        first = found_company("acme")
        clock.forward(days=36_500)
        assert sweep() == {"retired": 0, "purged": 0}
        assert found_company("acme") == first
        assert TaskExecution.objects.get().expires_at is None

    def test_an_expired_execution_is_not_executed_any_more(self, clock: Clock) -> None:
        pay(7)
        clock.forward(hours=25)
        status = check_idempotency_status(f"{__name__}.pay", [7])
        assert (status["executed"], status["state"], status["result"]) == (False, "expired", None)

    def test_of_many_that_find_it_expired_exactly_one_runs(self, clock: Clock) -> None:
        pay(7)
        clock.forward(hours=25)
        at_once(6, lambda _: pay(7))
        assert Effect.objects.count() == 2
        assert TaskExecution.objects.filter(retired_at=None).count() == 1


class TestSweep:
    def test_it_retires_what_has_expired_and_nothing_else(self, clock: Clock) -> None:
        pay(1)
        clock.forward(hours=12)
        pay(2)
        found_company("acme")
        clock.forward(hours=13)
        dies(crash)

        assert sweep() == {"retired": 1, "purged": 0}
        assert sweep() == {"retired": 0, "purged": 0}

        assert TaskExecution.objects.exclude(retired_at=None).get().arguments == {"employee": 1}

    def test_a_failure_nobody_repeats_is_retired_after_the_ttl(self, clock: Clock) -> None:
        with pytest.raises(ValueError, match="no"):
            fail()
        assert sweep()["retired"] == 0
        clock.forward(hours=25)
        assert sweep()["retired"] == 1

    def test_an_execution_that_runs_long_is_left_alone(self, clock: Clock) -> None:
        slow = Slow()
        with Elsewhere() as elsewhere:
            running = elsewhere.call(slow.task, 7)
            wait_for(slow.inside)
            try:
                clock.forward(days=3650)
                assert sweep() == {"retired": 0, "purged": 0}
                assert recover() == []
            finally:
                slow.go_on.set()
            assert running.result(PATIENCE) == "paid"

    def test_history_is_purged_after_its_retention_and_not_before(
        self, clock: Clock, settings: Settings
    ) -> None:
        settings.LEDGER = {"RETENTION_DAYS": 30}
        pay(1)
        pay(1)
        pay(2)
        clock.forward(hours=25)
        assert sweep() == {"retired": 2, "purged": 0}
        pay(1)  # live again, and with a past
        clock.forward(days=29)
        assert sweep() == {"retired": 1, "purged": 0}
        clock.forward(days=2)
        assert sweep() == {"retired": 0, "purged": 2}
        assert TaskExecution.objects.count() == 1
        assert ExecutionEvent.objects.count() == 0

    def test_retention_is_400_days_unless_set(self, clock: Clock) -> None:
        pay(1)
        clock.forward(days=2)
        sweep()
        clock.forward(days=399)
        assert sweep()["purged"] == 0
        clock.forward(days=2)
        assert sweep()["purged"] == 1

    def test_it_works_in_batches_until_all_is_done(self, clock: Clock, settings: Settings) -> None:
        settings.LEDGER = {"SWEEP_BATCH": 4, "RETENTION_DAYS": 1}
        for employee in range(10):
            pay(employee)
        clock.forward(hours=25)
        assert sweep() == {"retired": 10, "purged": 0}
        clock.forward(hours=25)
        assert sweep() == {"retired": 0, "purged": 10}

    def test_one_with_nothing_to_do_reads_nothing_of_a_long_history(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(HISTORY, [HISTORY_ROWS])
        wait_until(lambda: sweep() and Seal.objects.filter(kind="execution").exists())
        with connection.cursor() as cursor:
            cursor.execute(SEALS, [HISTORY_ROWS])
            cursor.execute(
                "vacuum analyze ledger_taskexecution, ledger_executionevent, ledger_seal"
            )
        sweep()
        with transaction.atomic():
            before = rows_read()
            assert sweep() == {"retired": 0, "purged": 0}
            after = rows_read()
        much = {table: after[table] - before[table] for table in after}
        assert {table: rows for table, rows in much.items() if rows > 20} == {}

    def test_it_does_not_wait_for_another_sweep_and_leaves_it_its_rows(
        self, clock: Clock, session: Sessions
    ) -> None:
        for employee in range(6):
            pay(employee)
        clock.forward(hours=25)
        other = session()
        other.autocommit = False
        assert other.execute("select ledger_retire_expired(2)").fetchone() == (2,)

        with connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '2s'")
        assert sweep()["retired"] == 4
        other.commit()

        assert sweep()["retired"] == 0
        assert TaskExecution.objects.exclude(retired_at=None).count() == 6
        connection.close()

    def test_a_purge_leaves_the_rest_to_another_purge_rather_than_wait(
        self, clock: Clock, session: Sessions, settings: Settings
    ) -> None:
        settings.LEDGER = {"RETENTION_DAYS": 1}
        for employee in range(6):
            pay(employee)
        clock.forward(hours=25)
        sweep()
        clock.forward(hours=25)
        other = session()
        other.autocommit = False
        assert other.execute("select ledger_purge('1 day', 2)").fetchone() == (2,)

        with connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '2s'")
        assert sweep()["purged"] == 0
        other.commit()

        assert sweep()["purged"] == 4
        assert not TaskExecution.objects.exists()
        connection.close()

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_claim_that_meets_a_sweep_of_its_row_waits_for_it_and_runs(
        self, clock: Clock, session: Sessions, fails: bool
    ) -> None:
        """The sweep holds no run lock: whose row lock was first decides who retires the row."""
        failing = [fails]

        @idempotent_task(ttl_hours=24)
        def task() -> int:
            if failing.pop():
                raise ValueError("once")
            failing.append(False)
            return Effect.objects.create(key="run").pk

        if fails:
            failing.insert(0, False)
            with pytest.raises(ValueError, match="once"):
                task()
        else:
            task()
        clock.forward(hours=25)
        other = session()
        other.autocommit = False
        assert other.execute("select ledger_retire_expired(10)").fetchone() == (1,)

        with Elsewhere() as elsewhere:
            claim = elsewhere.call(task)
            server = session()
            wait_until(
                lambda: server.execute(
                    "select 1 from pg_stat_activity where datname = current_database()"
                    " and wait_event_type = 'Lock'"
                ).fetchone()
            )
            other.commit()
            assert isinstance(claim.result(PATIENCE), int)

        old, new = TaskExecution.objects.order_by("id")
        assert old.retired_reason == "expired"
        assert (new.state, new.attempt) == (State.COMPLETED, 1)

    def test_several_at_once_share_the_work(self, clock: Clock, settings: Settings) -> None:
        settings.LEDGER = {"SWEEP_BATCH": 3, "RETENTION_DAYS": 1}
        for employee in range(40):
            pay(employee)
        clock.forward(hours=25)
        retired = at_once(4, lambda _: sweep()["retired"])
        assert sum(retired) == 40  # type: ignore[arg-type]
        clock.forward(hours=25)
        purged = at_once(4, lambda _: sweep()["purged"])
        assert sum(purged) == 40  # type: ignore[arg-type]

    def test_sweeping_while_the_same_keys_are_claimed_loses_nothing(self, clock: Clock) -> None:
        for employee in range(30):
            pay(employee)
        clock.forward(hours=25)

        def sweep_or_pay(i: int) -> object:
            return sweep() if i % 2 else [pay(employee) for employee in range(30)]

        outcomes = at_once(4, sweep_or_pay)

        assert not [outcome for outcome in outcomes if isinstance(outcome, AssertionError)]
        for employee in range(30):
            pay(employee)
        assert Effect.objects.count() == 60
        assert TaskExecution.objects.filter(retired_at=None).count() == 30


class TestRecover:
    def test_it_reports_what_runs_without_a_worker_and_lets_it_run_again(
        self, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        calls: list[int] = []

        @idempotent_task()
        def once_deadly() -> str:
            calls.append(1)
            if len(calls) == 1:
                die()
            return "done"

        dies(once_deadly)
        (key,) = TaskExecution.objects.values_list("key", flat=True)
        clock.forward(minutes=1)

        assert recover(actor="ana") == [key]
        assert recover(actor="ana") == []

        row = TaskExecution.objects.get()
        assert (row.state, row.crashes, row.error) == (State.FAILED, 1, "its worker is gone")
        event = row.events.get()
        assert (event.kind, event.attempt, event.actor) == ("abandoned", 1, "ana")
        (record,) = [r for r in caplog.records if getattr(r, "ledger_outcome", "") == "abandoned"]
        assert record.ledger_key == key  # type: ignore[attr-defined]
        assert once_deadly() == "done"
        assert TaskExecution.objects.get().attempt == 2

    def test_it_leaves_a_claim_time_to_begin_its_run(self, clock: Clock) -> None:
        dies(crash)
        assert recover() == []
        assert recover(grace=dt.timedelta(0)) != []

    def test_it_leaves_alone_whose_worker_lives(self, clock: Clock, session: Sessions) -> None:
        dies(crash)
        clock.forward(minutes=1)
        alive = session()
        alive.autocommit = False
        alive.execute("select pg_advisory_xact_lock(ledger_lock_id(key)) from ledger_taskexecution")
        assert recover() == []
        assert TaskExecution.objects.get().state == State.RUNNING

    def test_several_at_once_report_each_of_them_once(self, clock: Clock) -> None:
        @idempotent_task()
        def deadly(number: int) -> None:
            die()

        for number in range(5):
            dies(deadly, number)
        clock.forward(minutes=1)
        found = [key for keys in at_once(3, lambda _: recover()) for key in keys]
        assert sorted(found) == sorted(TaskExecution.objects.values_list("key", flat=True))
        assert ExecutionEvent.objects.count() == 5


class TestTheTasks:
    def test_they_do_what_the_functions_do(self, clock: Clock) -> None:
        pay(1)
        dies(crash)
        clock.forward(hours=25)
        assert sweep_task.apply().get() == {"retired": 1, "purged": 0}
        (key,) = TaskExecution.objects.filter(state=State.RUNNING).values_list("key", flat=True)
        assert recover_task.apply().get() == [key]
        assert ExecutionEvent.objects.get().actor == "ledger.tasks.recover"

    @pytest.mark.parametrize("name", ["ledger.tasks.sweep", "ledger.tasks.recover"])
    def test_beat_schedules_them(self, name: str) -> None:
        assert name in current_app.tasks
        scheduled = [entry["task"] for entry in configured.CELERY_BEAT_SCHEDULE.values()]
        assert scheduled.count(name) == 1
