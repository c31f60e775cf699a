"""The overview: right figures for any range, tables where there are no charts, nothing inline."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ledger import idempotent_task
from ledger.admin.overview import charts, figures
from ledger.admin.overview.ranges import Range, RangeForm
from ledger.models import OutboxMessage, State, TaskExecution
from ledger.testing import Clock
from tests.ledger.admin.conftest import Staff

pytestmark = pytest.mark.django_db

OVERVIEW = reverse("admin:ledger_taskexecution_overview")
LONG_AGO = timezone.make_aware(dt.datetime(2026, 3, 2, 10))
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@idempotent_task(ttl_hours=None)
def pay(employee: int) -> int:
    if employee < 0:
        raise ValueError(employee)
    return employee


def row(claimed_at: dt.datetime, state: str = State.COMPLETED, **fields: Any) -> TaskExecution:
    """As the ledger would have written it; a completed one took an hour."""
    made = TaskExecution(
        key=f"idempotent:made:{random.random()}",
        task_name=fields.pop("task_name", "made"),
        arguments={},
        guarantee="exactly_once",
        state=state,
        attempt=1,
        crashes=0,
        claimed_at=claimed_at,
        started_at=claimed_at,
        **fields,
    )
    if state == State.COMPLETED:
        made.completed_at = claimed_at + HOUR
    return made


def made(*rows: TaskExecution) -> None:
    TaskExecution.objects.bulk_create(rows)


def seen(client: Client, **query: str) -> dict[str, Any]:
    response = client.get(OVERVIEW, query)
    assert response.status_code == 200
    assert response.context_data is not None
    return response.context_data


def tiles(context: dict[str, Any], which: str) -> dict[str, tuple[str, str, bool]]:
    return {tile.name: (tile.number, tile.note, tile.warns) for tile in context[which]}


def tally_on(rows: int) -> None:
    """Move the mark on by so many executions and events, or to the last."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_tally_on(%s, coalesce((select max(id) from ledger_taskexecution), 0),"
            " coalesce((select max(id) from ledger_executionevent), 0))",
            [rows],
        )


def found(since: dt.datetime, until: dt.datetime) -> figures.Figures:
    with figures.bounded(connection) as cursor:
        return figures.figures(cursor, Range(since, until))


class TestTheRange:
    def test_runs_failures_and_duplicates_stand_in_the_hour_of_each(
        self, admin_client: Client, clock: Clock
    ) -> None:
        pay(1)
        pay(1)
        with pytest.raises(ValueError, match="-1"):
            pay(-1)
        clock.forward(hours=2)
        pay(2)
        pay(1)
        context = seen(admin_client)
        steps = [cells for _, cells in context["steps"]]
        # completed, failed, held, running, duplicates
        assert steps[-3:] == [["1", "1", "0", "0", "1"], ["0"] * 5, ["1", "0", "0", "0", "1"]]
        assert tiles(context, "totals")["Duplicates prevented"][:2] == (
            "2",
            "40.0% of all deliveries",
        )
        [task] = context["tasks"]
        assert (task.name, task.cells[:6]) == (f"{__name__}.pay", ["3", "2", "1", "0", "0", "2"])

    def test_what_a_person_released_as_completed_took_no_time(self) -> None:
        made(row(LONG_AGO))
        execution = TaskExecution.objects.get()
        execution.events.create(kind="released", at=LONG_AGO + HOUR, attempt=1)
        for count in (0, 2_000_000_000):  # more ids than other tests have used up
            tally_on(count)
            [task] = found(LONG_AGO, LONG_AGO + HOUR).tasks
            assert task.percentiles == []
            assert sum(task.executions) == 1

    def test_it_is_what_the_quarters_of_an_hour_around_it_hold(self, admin_client: Client) -> None:
        made(*(row(LONG_AGO + n * HOUR / 4 - dt.timedelta(seconds=1)) for n in range(5)))
        context = seen(admin_client, since="2026-03-02T10:01", until="2026-03-02T10:31")
        assert context["range"] == Range(LONG_AGO, LONG_AGO + HOUR * 3 / 4)
        assert tiles(context, "totals")["Executions"][0] == "3"

    @pytest.mark.parametrize(
        ("query", "step", "steps"),
        [
            ({"range": "24h"}, "hour", 25),
            ({"range": "7d"}, "day", 8),
            ({"range": "30d"}, "day", 31),
            ({"since": "2026-03-02T00:00", "until": "2026-03-05T00:00"}, "hour", 72),
            # An hour less in March and one more in October: days are days.
            ({"since": "2026-03-28T00:00", "until": "2026-04-01T00:00"}, "day", 4),
            ({"since": "2026-10-24T00:00", "until": "2026-10-28T00:00"}, "day", 4),
            ({"since": "2026-01-01T00:00", "until": "2026-07-01T00:00"}, "week", 27),
            ({"since": "2024-01-01T00:00", "until": "2026-01-01T00:00"}, "month", 24),
        ],
    )
    def test_its_steps_are_as_long_as_a_chart_can_show(
        self, admin_client: Client, query: dict[str, str], step: str, steps: int
    ) -> None:
        context = seen(admin_client, **query)
        assert context["range"].step == step
        assert len(context["steps"]) == steps

    @pytest.mark.parametrize(
        ("query", "says"),
        [
            ({"range": "a year"}, "Select a valid choice"),
            ({"since": "yesterday"}, "Enter a valid date/time."),
            ({"until": "2026-03-02T10:00"}, "Say since when"),
            ({"since": "2026-03-02T10:00", "until": "2026-03-02T10:00"}, "Choose an end after"),
            ({"since": "9999-03-02T10:00"}, "Choose an end after"),
            ({"since": "0001-01-01T00:00"}, "Choose a year from 2000 on."),
            ({"since": "<script>"}, "Enter a valid date/time."),
        ],
    )
    def test_one_that_cannot_be_meant_is_refused_and_the_default_shown(
        self, admin_client: Client, query: dict[str, str], says: str
    ) -> None:
        response = admin_client.get(OVERVIEW, query)
        assert says in response.content.decode()
        assert response.context_data is not None
        assert response.context_data["range"].preset == "24h"
        assert "<script>" not in response.content.decode()

    def test_where_too_much_is_not_counted_yet_it_says_so(
        self,
        admin_client: Client,
        session: Callable[[], psycopg.Connection],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(figures, "TIMEOUT", 0.2)
        other = session()
        with other.transaction():
            other.execute("lock table ledger_executionevent in access exclusive mode")
            html = admin_client.get(OVERVIEW).content.decode()
        assert "no sweep has counted it yet" in html
        assert "for a person to decide" in html

    def test_a_range_without_an_end_reaches_to_now(self) -> None:
        now = timezone.now()
        form = RangeForm({"since": "2026-03-02T10:00"}, now=now)
        assert form.chosen() == Range(LONG_AGO, timezone.localtime(now))


class TestThisMoment:
    def test_who_holds_the_run_lock_has_a_worker(
        self, admin_client: Client, session: Callable[[], psycopg.Connection]
    ) -> None:
        long_ago = timezone.now() - 3 * HOUR
        alive, lost = row(long_ago, State.RUNNING), row(long_ago, State.RUNNING)
        made(alive, lost, row(timezone.now(), State.RUNNING), row(long_ago, State.HELD))
        lock = "select pg_advisory_xact_lock(ledger_lock_id(%s))"
        other = session()
        with other.transaction():
            other.execute(lock, [alive.key])
            shown = tiles(seen(admin_client), "now")
            assert shown["Running"] == ("3", "the oldest for 3 h", False)
            assert shown["Stuck"] == ("1", "running without a worker", True)
            assert shown["Held"] == ("1", "for a person to decide", True)
        assert tiles(seen(admin_client), "now")["Stuck"][0] == "2"

    def test_the_outbox_and_the_sweep_say_how_far_behind_they_are(
        self, admin_client: Client
    ) -> None:
        shown = tiles(seen(admin_client), "now")
        assert shown["Outbox lag"] == ("0 s", "0 not published yet", False)
        assert shown["Sweep lag"] == ("0 s", "to retire or purge what is due", False)
        now = timezone.now()
        overdue = row(now - DAY, expires_at=now - 2 * HOUR)
        made(overdue, row(now - DAY, expires_at=now + HOUR))
        for published_at in (None, now):
            OutboxMessage.objects.create(
                execution=TaskExecution.objects.latest("id"),
                task_name="t",
                message={},
                created_at=now - 4 * HOUR,
                published_at=published_at,
                tries=1,
            )
        shown = tiles(seen(admin_client), "now")
        assert shown["Outbox lag"] == ("4 h", "1 not published yet", True)
        assert shown["Sweep lag"][::2] == ("2 h", True)


class TestThePage:
    def test_it_takes_the_view_permission_and_no_other(self, staff: Staff, client: Client) -> None:
        assert client.get(OVERVIEW).status_code == 302
        client.force_login(User.objects.create_user("nobody", is_staff=True))
        assert client.get(OVERVIEW).status_code == 403
        assert staff().get(OVERVIEW).status_code == 200

    def test_it_costs_as_many_queries_for_many_tasks_as_for_one(self, admin_client: Client) -> None:
        made(row(timezone.now()))
        with CaptureQueriesContext(connection) as one:
            seen(admin_client)
        made(*(row(timezone.now(), task_name=f"task {n}") for n in range(60)))
        with CaptureQueriesContext(connection) as many:
            context = seen(admin_client)
        assert len(many) == len(one)
        assert (len(context["tasks"]), context["more_tasks"]) == (50, 11)

    def test_nothing_in_it_is_inline_and_names_are_never_markup(self, admin_client: Client) -> None:
        made(row(timezone.now(), task_name="</title><script>alert(1)</script>"))
        html = admin_client.get(OVERVIEW).content.decode()
        assert "<svg" in html
        assert "&lt;script&gt;alert(1)" in html
        assert "<script>alert" not in html
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
        assert not re.search(r"<script(?![^>]*\ssrc=)", html)
        ids = re.findall(r'\sid="([^"]+)"', html)
        assert len(ids) == len(set(ids))

    def test_without_pygal_its_figures_stand_in_tables(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(charts, "INSTALLED", False)
        made(row(timezone.now()))
        html = admin_client.get(OVERVIEW).content.decode()
        assert "pygal" not in html
        assert "<details open>" in html

    def test_the_list_leads_to_it(self, admin_client: Client) -> None:
        listed = admin_client.get(reverse("admin:ledger_taskexecution_changelist"))
        assert f'href="{OVERVIEW}"' in listed.content.decode()
