"""However long history is, the list, its filters and its search read it by index.

200,000 executions of 40 tasks stand for ten million: what has an index there has it here, and no
plan may read the whole table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoDbBlocker

from ledger.models import TaskExecution
from tests.ledger.admin.site import LIST, detail, ids

ROWS = 200_000

HISTORY = f"""
    insert into ledger_taskexecution
        (key, task_name, args_hash, arguments, guarantee, state, attempt, crashes, task_id, root_id,
         worker, claimed_at, started_at, completed_at, retired_at, retired_reason, result, error)
    select
        'idempotent:plan.task' || n % 40 || ':' || md5(n::text) || md5(n::text),
        case when n <= 20000 then 'plan.old' else 'plan.task' || n % 40 end, '',
        jsonb_build_object('plan_employee', n % 5000, 'year', 2026),
        case when n % 40 = 7 and n < 100000 then 'at_least_once' else 'exactly_once' end,
        case n % 1000 when 0 then 'failed' else 'completed' end,
        1 + (n % 500 = 0)::int, 0, 'task-' || n, 'task-' || n - n % 3, 'worker/1',
        now() - ({ROWS} - n) * interval '150 seconds', now(),
        case n % 1000 when 0 then null else now() end,
        case when n < {ROWS} * 0.9 then now() end, '', '{{}}', ''
    from generate_series(1, {ROWS}) n
"""


@pytest.fixture(scope="module")
def history(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(HISTORY)
            cursor.execute("vacuum analyze ledger_taskexecution")
        yield
        with connection.cursor() as cursor:
            cursor.execute("truncate ledger_taskexecution cascade")


@pytest.fixture
def client(history: None, db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("admin"))
    return client


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from plan_nodes(part)


def most_read(client: Client, path: str, query: dict[str, str]) -> tuple[str, int]:
    """A page's HTML, and how many rows of executions the worst of its queries read. None may scan
    the table."""
    with CaptureQueriesContext(connection) as asked:
        response = client.get(path, query)
    assert response.status_code == 200
    worst = 0
    for sql in (q["sql"] for q in asked if "ledger_taskexecution" in q["sql"]):
        with connection.cursor() as cursor:
            cursor.execute(f"explain (analyze, format json) {sql}")
            ((plans,),) = cursor.fetchall()
        plans = json.loads(plans) if isinstance(plans, str) else plans
        for node in plan_nodes(plans[0]["Plan"]):
            if node.get("Relation Name") == "ledger_taskexecution":
                assert node["Node Type"] != "Seq Scan", sql
                read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                read += node.get("Rows Removed by Index Recheck", 0)
                worst = max(worst, int(read * node["Actual Loops"]))
    return response.content.decode(), worst


@pytest.mark.parametrize(
    ("query", "shown", "at_most"),
    [
        ({}, 100, 110),
        ({"p": f"older-{ROWS // 2}"}, 100, 110),
        ({"p": "newer-10"}, 100, 110),
        ({"state": "completed"}, 100, 110),
        ({"state": "failed"}, 100, 500),
        ({"state": "held"}, 0, 500),
        ({"state": "running"}, 0, 500),
        ({"look": "held"}, 0, 500),
        ({"look": "lost"}, 0, 500),
        ({"look": "repeated"}, 100, 500),
        ({"task": "plan.task3"}, 100, 5000),
        ({"task": "plan.task7"}, 100, 5000),
        ({"task": "plan.task3", "p": f"older-{ROWS // 2}"}, 100, 5000),
        ({"task": "plan.old"}, 100, 310),
        ({"task": "nothing"}, 0, 110),
        ({"task": "plan.task3", "state": "held"}, 0, 500),
        ({"guarantee": "at_least_once"}, 100, 6000),
        ({"guarantee": "at_most_once"}, 0, 110),
        ({"guarantee": "at_most_once", "task": "plan.task3"}, 0, 110),
        ({"live": "no"}, 100, ROWS // 9),
        ({"q": "task-4711"}, 1, 50),
        ({"q": "plan_employee=4711"}, 40, 100),
        ({"q": "plan_employee=4711", "state": "completed"}, 40, 100),
        ({"q": "year=2026"}, 100, 110),
        ({"q": "no-such-thing"}, 0, 50),
        ({"q": "idempotent:nothing"}, 0, 50),
    ],
    ids=str,
)
def test_a_list_reads_little_more_than_it_shows(
    client: Client, query: dict[str, str], shown: int, at_most: int
) -> None:
    page, read = most_read(client, LIST, query)
    assert len(ids(page)) == shown
    assert read <= at_most


@pytest.mark.parametrize("where", ["the live", "history"])
def test_a_key_is_found_by_index(client: Client, where: str) -> None:
    row = TaskExecution.objects.filter(retired_at__isnull=where == "the live").order_by("-id")[50]
    page, read = most_read(client, LIST, {"q": row.key})
    assert ids(page) == [row.pk]
    assert read <= 50  # from one task to the next, for the filter


def test_a_day_long_ago_is_found_by_index(client: Client) -> None:
    moment = TaskExecution.objects.filter(pk__gt=1000).earliest("id").claimed_at
    query = {f"claimed_at__{part}": str(getattr(moment, part)) for part in ("year", "month", "day")}
    page, read = most_read(client, LIST, query)
    assert 0 < len(ids(page)) <= 100
    assert read <= 800  # a day has 576


def test_an_executions_page_is_read_by_index(client: Client) -> None:
    row = TaskExecution.objects.order_by("-id")[1234]
    _, read = most_read(client, detail(row), {})
    assert read <= 10


def test_an_export_reads_what_it_writes(client: Client) -> None:
    query = {"task": "plan.task3", "q": "plan_employee=3"}
    with CaptureQueriesContext(connection) as asked:
        response = client.get(f"{LIST}export.csv", query)
        lines = b"".join(response.streaming_content).count(b"\n")  # type: ignore[attr-defined]
    assert lines == 37  # 36, and a headline
    assert len(asked) <= 12
