"""The views: what is in them, who may read them, and that they find a range by index."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import connection, models

from ledger.models import ExecutionEvent, TaskExecution
from ledger.reporting.grants import DETAILS, VIEWS
from ledger.reporting.models import (
    Attempt,
    DailySummary,
    Duplicate,
    OpenItem,
    RunDetails,
    RunHistory,
    TaskHealth,
    View,
)
from tests.ledger.marks import commits
from tests.ledger.test_command import ledger, refused
from tests.reporting.month import HOURS, PAYROLL, TRANSFER

pytestmark = [commits, pytest.mark.usefixtures("month")]

MODELS = [model for model in apps.get_app_config("ledger").get_models() if issubclass(model, View)]


def ask(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_its_views_columns_and_each_has_a_comment(model: type[models.Model]) -> None:
    view = model._meta.db_table
    described = ask(
        "select attname, col_description(attrelid, attnum) from pg_attribute "
        "where attrelid = to_regclass(%s) and attnum > 0 order by attnum",
        view,
    )
    assert [name for name, _ in described] == [
        field.column for field in model._meta.concrete_fields
    ]
    assert all(comment and comment.endswith(".") for _, comment in described)
    assert ask("select obj_description(to_regclass(%s))", view)[0][0]
    assert list(model._base_manager.all()), "and it can be read"


def test_the_history_has_every_execution_once() -> None:
    assert RunHistory.objects.count() == TaskExecution.objects.count()
    assert sum(RunHistory.objects.values_list("duplicates", flat=True)) == Duplicate.objects.count()
    assert Duplicate.objects.count() == ExecutionEvent.objects.filter(kind="skipped").count() == 5


def test_an_attempt_says_how_it_ended_and_who_made_it() -> None:
    found = {
        (row.execution_id, row.attempt): (row.outcome, row.worker, row.error_type)
        for row in Attempt.objects.filter(task_name=PAYROLL)
    }
    assert found[3, 1] == ("abandoned", "celery@pay-1", None)
    assert found[3, 2] == ("completed", "celery@pay-2", None)
    assert found[4, 1] == ("failed", "celery@pay-1", "MissingWorkLog")
    assert found[4, 2] == ("completed", "celery@pay-2", None)
    assert found[5, 1] == ("failed", "celery@pay-1", "ValueError")
    times = Attempt.objects.filter(execution_id=3).order_by("attempt")
    assert [row.ended_at - row.started_at for row in times if row.ended_at and row.started_at] == [
        dt.timedelta(minutes=2, seconds=29),
        dt.timedelta(milliseconds=420),
    ]


def test_what_is_open_is_told_from_what_is_stuck_by_its_lock() -> None:
    items = {(item.item, item.task_name): item for item in OpenItem.objects.all()}
    assert set(items) == {
        ("running", HOURS),
        ("stuck", PAYROLL),
        ("held", TRANSFER),
        ("unpublished", "payroll.tasks.notify_payslip"),
    }
    assert items["stuck", PAYROLL].seconds == 3600
    assert items["held", TRANSFER].detail == "it failed and may have taken effect"
    assert items["unpublished", "payroll.tasks.notify_payslip"].detail == "OperationalError"


def test_a_day_adds_up() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select set_config('TimeZone', 'Europe/Berlin', false)")
        try:
            day = DailySummary.objects.get(day=dt.date(2026, 11, 27), task_name=PAYROLL)
            every = list(DailySummary.objects.all())
        finally:
            cursor.execute("select set_config('TimeZone', 'UTC', false)")
    assert (day.executions, day.completed, day.failed, day.retried) == (6, 5, 1, 2)
    assert (day.failures, day.workers_lost, day.duplicates) == (2, 1, 1)
    assert sum(row.executions for row in every) == TaskExecution.objects.count()
    assert sum(row.duplicates for row in every) == 5


def test_health_is_told_for_a_span() -> None:
    week = TaskHealth.objects.get(days=7, task_name=PAYROLL)
    assert (week.executions, week.completed, week.failed, week.running) == (8, 6, 1, 1)
    assert (str(week.success_rate), week.duplicates, week.attempts) == ("0.8571", 2, 10)
    assert week.p50_seconds
    assert week.p95_seconds
    assert week.p99_seconds
    assert week.p50_seconds <= week.p95_seconds <= week.p99_seconds
    assert TaskHealth.objects.get(days=1, task_name=PAYROLL).executions == 1
    transfers = TaskHealth.objects.get(days=7, task_name=TRANSFER)
    assert transfers.p99_seconds
    assert transfers.p99_seconds < 10, "how long a person took to decide does not count"
    [row] = ask(
        "select executions from ledger_task_health_between('2026-11-28', '2026-11-29') "
        "where task_name = %s",
        PAYROLL,
    )
    assert row == (1,)


A_LONG_HISTORY = """
    insert into ledger_taskexecution
        (key, task_name, args_hash, arguments, guarantee, state, attempt, crashes, task_id, root_id,
         worker, claimed_at, started_at, completed_at, retired_at, retired_reason, error)
    select 'key ' || i % 50000, 'task', '', '{}', 'exactly_once', 'completed', 1, 0, '', '', '',
        at, at, at, case when i <= 50000 then at end, '', ''
    from (select i, '2024-01-01'::timestamptz + i * interval '1 minute' as at
        from generate_series(1, 60000) i) made;
    insert into ledger_executionevent
        (execution_id, kind, at, attempt, task_id, worker, actor, reason, traceback)
    select id, 'skipped', claimed_at, 1, '', '', '', '', ''
    from ledger_taskexecution where task_name = 'task';
    analyze ledger_taskexecution, ledger_executionevent;
    select brin_summarize_new_values('ledger_claimed'), brin_summarize_new_values('ledger_event_at')
"""
A_DAY = "between '2024-01-10' and '2024-01-11'"
TIMES = "ledger_claimed", "ledger_event_at"
KEYS = "ledger_one_live_row_per_key", "ledger_key_history"
KEY_OF_5 = "select key from ledger_run_history where execution_id = 5"
ID, STORY = "ledger_taskexecution_pkey", "ledger_story"


@pytest.fixture
def long_history(month: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(A_LONG_HISTORY)


def plan_of(view_and_condition: str) -> str:
    return "\n".join(line for (line,) in ask(f"explain select * from ledger_{view_and_condition}"))


@pytest.mark.usefixtures("long_history")
def test_a_range_is_found_by_index() -> None:
    for view_and_condition, *indexes in (
        ("daily_summary where day = '2024-01-10'", *TIMES),
        ("task_health_between('2024-01-10', '2024-01-11')", *TIMES),
        (f"run_history where claimed_at {A_DAY}", "ledger_claimed"),
        (f"duplicates where at {A_DAY}", "ledger_event_at"),
        (f"decisions where at {A_DAY}", "ledger_event_at"),
        ("open_items where item = 'stuck'", "ledger_open"),
    ):
        plan = plan_of(view_and_condition)
        for index in indexes:
            assert index in plan, plan


@pytest.mark.usefixtures("long_history")
def test_a_key_an_execution_and_the_latest_are_found_by_index_alone() -> None:
    for view_and_condition, *indexes in (
        ("run_history where key = 'key 5'", *KEYS),
        ("run_history where key in ('key 5', 'key 6')", *KEYS),
        ("run_history where key = 'key 5' and retired_at is null", KEYS[0]),
        (f"run_history where key = ({KEY_OF_5})", *KEYS, ID),
        (f"run_history where key = any (array({KEY_OF_5}))", *KEYS, ID),
        ("run_history join ledger_run_details using (execution_id) where key = 'key 5'", *KEYS),
        ("attempts where key = 'key 5'", *KEYS, STORY),
        ("duplicates where key = 'key 5'", *KEYS, STORY),
        ("decisions where key = 'key 5'", *KEYS, STORY),
        ("run_history where execution_id = 5", ID),
        ("run_details where execution_id = 5", ID),
        ("attempts where execution_id = 5", ID, STORY),
        ("duplicates where execution_id = 5", ID, STORY),
        ("decisions where execution_id = 5", ID, STORY),
        ("run_history order by execution_id desc limit 10", ID),
        ("run_history where task_name = 'task' order by execution_id desc limit 10", ID),
        ("run_history where task_name = 'nothing'", "ledger_by_task"),
    ):
        plan = plan_of(view_and_condition)
        for index in indexes:
            assert index in plan, plan
        assert "Seq Scan" not in plan, plan


def test_a_key_shows_its_executions_live_and_retired() -> None:
    twice = RunHistory.objects.filter(task_name=PAYROLL, retired_reason__startswith="cleared").get()
    rows = RunHistory.objects.filter(key=twice.key).order_by("execution_id")
    assert [row.retired_at is None for row in rows] == [False, True]


@pytest.mark.usefixtures("long_history")
def test_a_summary_of_many_days_sorts_no_more_than_a_day() -> None:
    with connection.cursor() as cursor:
        cursor.execute("set work_mem = '1MB'")
        try:
            plan = ask(
                "explain (analyze) select * from ledger_daily_summary where day < '2024-03-01'"
            )
        finally:
            cursor.execute("reset work_mem")
    methods = [line for (line,) in plan if "Sort Method" in line]
    assert methods
    assert all("quicksort" in line for line in methods), methods


class TestGranting:
    ROLE = "ledger_reader_of_a_test"

    @pytest.fixture(autouse=True)
    def no_role(self) -> Iterator[None]:
        yield
        if ask("select from pg_roles where rolname = %s", self.ROLE):
            with connection.cursor() as cursor:
                cursor.execute(f"drop owned by {self.ROLE}; drop role {self.ROLE}")

    def connected(self) -> psycopg.Connection:
        """As that role, by the front door."""
        with connection.cursor() as cursor:
            cursor.execute(f"alter role {self.ROLE} login password 'of-a-test'")
        info = connection.connection.info
        return psycopg.connect(info.dsn, user=self.ROLE, password="of-a-test", autocommit=True)

    def test_the_role_reads_the_views_and_nothing_else(self) -> None:
        printed = ledger("grant-reporting", self.ROLE, "--create")
        assert all(view in printed for view in VIEWS)
        assert DETAILS not in printed
        with self.connected() as reader:
            for view in VIEWS:
                row = reader.execute(f"select count(*) from {view}".encode()).fetchone()
                assert row is not None
                assert row[0] > 0, view
            tables = ask(
                "select relname from pg_class where relname ~ '^ledger_' and relkind = 'r'"
            )
            assert len(tables) > 7
            for (table,) in tables:
                for statement in (f"select from {table}", f"delete from {table}"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        reader.execute(statement.encode())
            for statement in (
                f"select from {DETAILS}",
                "update ledger_run_history set state = 'completed'",
                "delete from ledger_run_history",
                "select ledger_retire_expired(10)",
                "select ledger_retire('key', '', '')",
                "create table public.mine (id integer)",
            ):
                with pytest.raises(psycopg.Error):
                    reader.execute(statement.encode())
        assert RunHistory.objects.count() == TaskExecution.objects.count()

    def test_the_role_may_call_what_the_views_call_where_not_everybody_may(self) -> None:
        every = "execute on all functions in schema public"
        with connection.cursor() as cursor:
            cursor.execute(f"revoke {every} from public")
            try:
                ledger("grant-reporting", self.ROLE, "--create")
                with self.connected() as reader:
                    for view in VIEWS:
                        assert reader.execute(f"select from {view}".encode()).fetchall(), view
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        reader.execute("select ledger_lock('key')")
            finally:
                cursor.execute(f"grant {every} to public")

    def test_details_are_granted_and_taken_away_by_name(self) -> None:
        ledger("grant-reporting", self.ROLE, "--create", "--with-details")
        with self.connected() as reader:
            assert len(reader.execute("select * from ledger_run_details").fetchall()) > 10
            ledger("grant-reporting", self.ROLE)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("select * from ledger_run_details")
        assert RunDetails.objects.exists()

    def test_a_role_that_does_not_exist_is_not_made_silently(self) -> None:
        told = refused("grant-reporting", self.ROLE)
        assert f"There is no role '{self.ROLE}'. Create it, CREATE ROLE" in told
        assert not ask("select from pg_roles where rolname = %s", self.ROLE)

    def test_a_role_that_may_do_more_is_refused(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"create role {self.ROLE}; grant insert on ledger_seal to {self.ROLE}")
        assert "themselves (ledger_seal)" in refused("grant-reporting", self.ROLE)
        superuser = connection.settings_dict["USER"]
        assert "ledger_taskexecution" in refused("grant-reporting", superuser)

    def test_a_user_who_may_not_grant_is_told_so(self) -> None:
        ledger("grant-reporting", self.ROLE, "--create")
        with connection.cursor() as cursor:
            cursor.execute(f"set role {self.ROLE}")
            try:
                told = refused("grant-reporting", self.ROLE)
                assert "Run it as the owner of the ledger's tables." in told
                assert "create roles" in refused("grant-reporting", f"{self.ROLE}_2", "--create")
            finally:
                cursor.execute("reset role")

    def test_a_name_is_a_name_and_no_sql(self) -> None:
        hostile = 'x"; drop table ledger_seal; --'
        assert "There is no role" in refused("grant-reporting", hostile)
        assert ask("select to_regclass('ledger_seal') is not null") == [(True,)]
