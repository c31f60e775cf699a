"""A router that has everything read from a replica: decisions, and whether a worker is alive, are
the primary's business all the same."""

from __future__ import annotations

from typing import Any

import pytest
from celery import shared_task
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from ledger import clear_idempotency_key, idempotent_task
from ledger.admin.decisions import DECISIONS
from ledger.models import ExecutionEvent, TaskExecution
from tests.ledger.admin.site import deciding, ids, listed, seen, shown, text_of, told
from tests.ledger.inbox import Inbox

OVERVIEW = reverse("admin:ledger_taskexecution_overview")

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "second"])


class Replicated:
    """The ledger is read from the second database, and written to the default one."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "second" if model._meta.app_label == "ledger" else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "default" if model._meta.app_label == "ledger" else None

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True


@pytest.fixture(autouse=True)
def replicated(settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Replicated"]


@shared_task(name="tests.replica.pay")
@idempotent_task()
def pay(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number


def replicate() -> TaskExecution:
    """The newest execution, with its events, arrives at the replica."""
    row = TaskExecution.objects.using("default").latest("id")
    for copied in (row, *ExecutionEvent.objects.using("default").filter(execution=row.pk)):
        copied.save(using="second", force_insert=True)
    return TaskExecution.objects.get(pk=row.pk)


def hour_old() -> TaskExecution:
    """The running execution, as the replica has it."""
    with connection.cursor() as cursor:
        cursor.execute("update ledger_taskexecution set started_at = now() - interval '1 hour'")
    return replicate()


def stuck(client: Client) -> str:
    page = text_of(client.get(OVERVIEW).content.decode())
    return page.split("Stuck ")[1].split()[0]


@pytest.mark.parametrize("verb", ["clear", "run_again"])
def test_a_decision_is_carried_out_in_the_primary(
    admin_client: Client, inbox: Inbox, verb: str
) -> None:
    with pytest.raises(ValueError, match="-7"):
        pay(-7)
    row = replicate()
    assert deciding(verb, row).split("?")[0] in shown(admin_client, row)
    form = {
        "reason": "because",
        "seen": seen(admin_client.get(deciding(verb, row)).content.decode()),
    }
    response = admin_client.post(deciding(verb, row), form, follow=True)
    assert told(response) == f"1 {DECISIONS[verb].done}."
    events = ExecutionEvent.objects.using("default").filter(execution=row.pk, actor="admin")
    assert events.count() == 1


def test_what_is_decided_about_is_as_the_primary_has_it(admin_client: Client) -> None:
    with pytest.raises(ValueError, match="-7"):
        pay(-7)
    row = replicate()
    clear_idempotency_key("tests.replica.pay", [-7])
    page = admin_client.get(deciding("clear", row)).content.decode()
    assert "failed retired" in page
    assert f"{row.pk}.1.failed retired" not in seen(page)


def test_who_holds_a_lock_in_the_primary_has_a_worker(admin_client: Client) -> None:
    @idempotent_task(guarantee="at_least_once")
    def look_at_oneself() -> None:
        row = hour_old()
        assert ids(listed(admin_client, state="running")) == [row.pk]
        assert ids(listed(admin_client, look="lost")) == []
        for page in (listed(admin_client), shown(admin_client, row)):
            assert "running, no worker" not in page
        assert stuck(admin_client) == "0"

    look_at_oneself()


def test_who_holds_none_there_is_recovered(admin_client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_claim('idempotent:gone:0', 'gone', '', '{}', null,"
            " 'exactly_once', '', '', 'elsewhere/1', 3, false)"
        )
    row = hour_old()
    assert ids(listed(admin_client, look="lost")) == [row.pk]
    assert "running, no worker" in shown(admin_client, row)
    assert stuck(admin_client) == "1"
    form = {"reason": "because", "seen": f"{row.pk}.1.running"}
    assert told(admin_client.post(deciding("recover", row), form, follow=True)) == "1 recovered."
    assert TaskExecution.objects.using("default").get().state == "failed"
