"""Whatever somebody has put into any field, every page shows it and nothing more happens."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from ledger import current_execution, idempotent_task
from ledger.models import ExecutionEvent, TaskExecution
from tests.ledger.admin.site import LIST, deciding, listed, shown, unguarded
from tests.ledger.test_hostile_values import HOSTILE
from tests.testapp.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7|add:7 }}{% now 'Y' %}"


@idempotent_task(guarantee="at_least_once")
def echo(value: Any, fail: bool = False) -> Any:
    if fail:
        raise ValueError(value)
    current_execution().step("a step", lambda: value)
    return value


def all_pages(client: Client) -> list[str]:
    rows = list(TaskExecution.objects.all())
    pages = [listed(client)]
    pages += [shown(client, row) for row in rows]
    verbs = ("release", "clear", "run_again", "recover")
    pages += [client.get(deciding(verb, *rows)).content.decode() for verb in verbs]
    return pages


@pytest.mark.parametrize("name", [*HOSTILE, "everywhere"])
def test_as_an_argument_a_result_a_step_and_an_error(admin_client: Client, name: str) -> None:
    value = HOSTILE.get(name, MARKUP)
    echo_result = not isinstance(value, float) and name != "bytes"
    if echo_result:
        echo(value)
    with pytest.raises(ValueError):  # noqa: PT011
        echo(value, fail=True)
    for page in all_pages(admin_client):
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\x00" not in page
        assert len(page) < 400_000
    for format in ("csv", "xlsx"):
        response = admin_client.get(f"{LIST}export.{format}")
        if response.status_code != 404:  # XLSX is an extra
            assert len(b"".join(response.streaming_content)) > 100  # type: ignore[attr-defined]


def test_in_every_field_of_every_row(admin_client: Client) -> None:
    """As if it came in by another way than the ledger's own."""
    text = f"{MARKUP}🧨"
    echo(1)
    row = TaskExecution.objects.get()
    with unguarded(), connection.cursor() as cursor:
        cursor.execute(
            "update ledger_taskexecution set key = %s, task_name = %s, period = left(%s, 25),"
            " task_id = %s, root_id = 'root' || %s, worker = %s, retired_reason = left(%s, 255),"
            " error = %s, state = 'failed', retired_at = now()",
            [text] * 8,
        )
        for kind in ExecutionEvent.Kind.values:
            cursor.execute(
                "insert into ledger_executionevent (execution_id, kind, at, attempt, task_id,"
                " worker, actor, reason, traceback) values (%s, %s, now(), 1, %s, %s, %s, %s, %s)",
                [row.pk, kind, *[text] * 5],
            )
        cursor.execute(
            "insert into ledger_outboxmessage (execution_id, task_name, task_id, message,"
            " created_at, tries, error) values (%s, %s, %s, '{}', now(), 1, %s)",
            [row.pk, text, text, text],
        )
        cursor.execute(
            "insert into ledger_executionobject (execution_id, model, object_id, label)"
            " values (%s, %s, %s, %s)",
            [row.pk, text, text, text],
        )
    pages = all_pages(admin_client)
    assert sum("&lt;script&gt;alert(1)&lt;/script&gt;" in page for page in pages) >= 3
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "{{ 7|add:7 }}" in page or "script&gt;" not in page
    assert Effect.objects.count() == 0


def test_nothing_on_the_ledgers_own_pages_is_inline(admin_client: Client) -> None:
    """So that a strict Content-Security-Policy can be on."""
    echo(1)
    for page in all_pages(admin_client):
        inner = page.split('<div id="content"')[-1]
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", inner)
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", inner)


@pytest.mark.parametrize("path", ["0", "x", "1'", "%00", "9" * 40, "-1", "é", "1/2"])
def test_an_address_that_is_made_up_leads_nowhere(admin_client: Client, path: str) -> None:
    response = admin_client.get(f"{LIST}{path}/change/")
    assert response.status_code in (302, 404)


@pytest.mark.parametrize(
    "query",
    ["ids=1,x,%00,'--", "ids=" + "9" * 50, "ids=", "", "ids=-1", "ids=" + ",".join(["1"] * 5000)],
)
def test_made_up_executions_are_decided_about_by_nobody(admin_client: Client, query: str) -> None:
    response = admin_client.get(f"{LIST}decide/clear/?{query}")
    assert response.status_code == 200
    assert "There is nothing to do here." in response.content.decode()


@pytest.mark.parametrize("text", ["a\x00b", "\ud800".encode("utf-8", "surrogatepass")])
def test_a_search_or_a_task_that_no_text_can_be(admin_client: Client, text: Any) -> None:
    echo(1)
    for name in ("q", "task"):
        assert admin_client.get(LIST, {name: text}).status_code == 200
