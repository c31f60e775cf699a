"""The admin: everything to be seen and found, nothing to be changed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ledger import clear_idempotency_key, idempotent_daily_task, idempotent_task
from ledger.models import TaskExecution

pytestmark = pytest.mark.django_db

LIST = reverse("admin:ledger_taskexecution_changelist")
MARKUP = "<script>alert(1)</script>"


@idempotent_task(ttl_hours=None)
def pay(employee: int, note: str = "") -> dict[str, Any]:
    if employee < 0:
        raise ValueError(note)
    return {"employee": employee, "note": note}


@idempotent_daily_task()
def report() -> str:
    return "done"


def page(client: Client, **query: str) -> str:
    response = client.get(LIST, query)
    assert response.status_code == 200
    return response.content.decode()


def shown(html: str) -> int:
    """How many executions the list counts."""
    found = re.search(r"(\d+) task executions?", html)
    assert found is not None
    return int(found.group(1))


class TestTheList:
    def test_it_shows_what_matters_of_every_execution(self, admin_client: Client) -> None:
        report()
        row = TaskExecution.objects.get()
        html = page(admin_client)
        assert shown(html) == 1
        for text in ("completed", row.task_name, row.worker, row.args_hash[:12]):
            assert text in html
        assert row.period is not None
        assert f"…:{row.period}" in html.replace("&amp;", "&")
        assert re.search(r"\d\.\d{3} s", html)
        for column in ("state", "task_name", "period", "attempt", "worker", "expires_at"):
            assert f"column-{column}" in html
        assert "column-duration" in html

    def test_a_run_without_an_end_has_no_duration(self, admin_client: Client) -> None:
        with pytest.raises(ValueError, match="no"):
            pay(-1, "no")
        assert re.search(r'field-duration[^>]*">–<', page(admin_client))

    def test_it_filters_by_state_task_and_whether_it_is_live(self, admin_client: Client) -> None:
        pay(1)
        pay(2)
        report()
        with pytest.raises(ValueError, match="no"):
            pay(-1, "no")
        clear_idempotency_key(f"{__name__}.pay", [1])
        assert shown(page(admin_client)) == 4
        assert shown(page(admin_client, state__exact="failed")) == 1
        assert shown(page(admin_client, task_name=f"{__name__}.report")) == 1
        assert shown(page(admin_client, retired_at__isempty="0")) == 1
        assert shown(page(admin_client, retired_at__isempty="1")) == 3
        assert shown(page(admin_client, guarantee__exact="exactly_once")) == 4

    def test_it_finds_by_key_and_by_task_id(self, admin_client: Client) -> None:
        pay(1)
        pay(2)
        row = TaskExecution.objects.first()
        assert row is not None
        TaskExecution.objects.filter(pk=row.pk).update(task_id="3e1c7a52-the-task-id")
        assert shown(page(admin_client, q=row.key)) == 1
        assert shown(page(admin_client, q=f"idempotent:{__name__}.pay:")) == 2
        assert shown(page(admin_client, q="3e1c7a52-the-task-id")) == 1
        assert shown(page(admin_client, q="3e1c7a52")) == 1
        assert shown(page(admin_client, q="idempotent:nothing")) == 0
        assert shown(page(admin_client, q="'; --")) == 0

    def test_it_costs_as_many_queries_for_many_rows_as_for_one(self, admin_client: Client) -> None:
        pay(0)
        with CaptureQueriesContext(connection) as one:
            page(admin_client)
        for employee in range(1, 30):
            pay(employee)
        with CaptureQueriesContext(connection) as many:
            page(admin_client)
        assert len(many) == len(one)
        assert not [q for q in many.captured_queries if '"result"' in q["sql"]]

    def test_the_newest_comes_first(self, admin_client: Client) -> None:
        pay(1)
        report()
        html = page(admin_client)
        assert html.index(".report</td>") < html.index(".pay</td>")


class TestOneExecution:
    def test_its_page_tells_its_whole_story(self, admin_client: Client) -> None:
        with pytest.raises(ValueError, match="first"):
            pay(-1, "first")
        row = TaskExecution.objects.get()
        html = admin_client.get(
            reverse("admin:ledger_taskexecution_change", args=[row.pk])
        ).content.decode()
        assert "ValueError" in html
        assert "Traceback" in html
        assert row.key in html
        assert "&quot;employee&quot;" in html

    def test_markup_is_shown_and_never_interpreted(self, admin_client: Client) -> None:
        pay(1, MARKUP)
        with pytest.raises(ValueError, match="script"):
            pay(-1, MARKUP)
        for row in TaskExecution.objects.all():
            html = admin_client.get(
                reverse("admin:ledger_taskexecution_change", args=[row.pk])
            ).content.decode()
            assert MARKUP not in html
            assert "&lt;script&gt;" in html
        assert MARKUP not in page(admin_client)


class TestNothingChanges:
    def test_there_is_no_adding_no_editing_and_no_deleting(self, admin_client: Client) -> None:
        pay(1)
        before = TaskExecution.objects.values().get()
        change = reverse("admin:ledger_taskexecution_change", args=[before["id"]])
        delete = reverse("admin:ledger_taskexecution_delete", args=[before["id"]])
        assert admin_client.get(reverse("admin:ledger_taskexecution_add")).status_code == 403
        assert admin_client.post(change, {"state": "failed"}).status_code == 403
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [before["id"]], "post": "yes"}
        admin_client.post(LIST, chosen)
        assert TaskExecution.objects.values().get() == before
        html = admin_client.get(change).content.decode()
        assert 'name="_save"' not in html
        assert "deletelink" not in html
        assert "delete_selected" not in page(admin_client)

    def test_only_who_may_view_sees_it(self, client: Client) -> None:
        pay(1)
        user = User.objects.create_user("clerk", is_staff=True)
        client.force_login(user)
        assert client.get(LIST).status_code == 403
        user.user_permissions.add(Permission.objects.get(codename="view_taskexecution"))
        assert client.get(LIST).status_code == 200

    def test_no_permission_to_change_the_ledger_exists(self) -> None:
        codenames = Permission.objects.filter(content_type__app_label="ledger").values_list(
            "codename", flat=True
        )
        assert "view_taskexecution" in codenames
        assert all(codename.startswith("view_") for codename in codenames)
