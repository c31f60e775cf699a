"""The operational tables in the admin: to look at, and to decide about."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from core.models import DeadLetter, DeviceToken, Report, SecurityAlert, TokenFamily
from core.tasks import generate_reports, process_dead_letter
from ledger.models import OutboxMessage
from tests.core.operations import rows
from tests.core.operations.rows import DAY

MODELS = [DeadLetter, DeviceToken, Report, SecurityAlert, TokenFamily]


@pytest.fixture
def found(db: None) -> None:
    rows.family(compromised=DAY)
    rows.alert()
    rows.dead_letter()
    generate_reports()


def url(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:core_{model._meta.model_name}_{page}", args=args)


def act(client: Client, model: type[Any], action: str) -> str:
    chosen = list(model.objects.values_list("pk", flat=True))
    form = {"action": action, "_selected_action": chosen}
    page = client.post(url(model, "changelist"), form, follow=True)
    assert page.status_code == 200
    return page.content.decode()


def test_every_table_of_its_own_is_in_the_admin() -> None:
    shown = {model for model in admin.site._registry if model._meta.app_label == "core"}
    assert shown == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_lists_searches_and_details_load(
    admin_client: Client, found: None, model: type[Any]
) -> None:
    row = model.objects.first()
    assert (
        url(model, "change", row.pk) in admin_client.get(url(model, "changelist")).content.decode()
    )
    assert admin_client.get(url(model, "changelist"), {"q": "2026"}).status_code == 200
    assert admin_client.get(url(model, "change", row.pk)).status_code == 200
    assert admin_client.get(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_a_list_takes_as_many_queries_however_long_it_is(
    admin_client: Client,
    found: None,
    model: type[Any],
    django_assert_max_num_queries: Callable[[int], Any],
) -> None:
    for number in range(5):
        user = get_user_model().objects.create(username=f"user {number}")
        TokenFamily.objects.filter(pk=rows.family().pk).update(user=user)
        rows.alert()
        rows.dead_letter()
    SecurityAlert.objects.update(resolved_by=user)
    with django_assert_max_num_queries(11):
        admin_client.get(url(model, "changelist"))


@pytest.mark.parametrize("values", [True, False])
def test_a_letters_values_are_shown_to_whom_the_ledger_shows_them(
    client: Client, db: None, values: bool
) -> None:
    letter = rows.dead_letter()
    letter.message = '{"args": [47110815], "kwargs": {}}'
    letter.error = letter.traceback = "ValueError: 4250.00 is too much"
    letter.save()
    clerk = get_user_model().objects.create_user("clerk", is_staff=True)
    may = ["view_deadletter", *(["can_view_values"] if values else [])]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=may))
    client.force_login(clerk)
    for page in (url(DeadLetter, "change", letter.pk), url(DeadLetter, "changelist")):
        assert ("4250.00" in client.get(page).content.decode()) is values
    page = client.get(url(DeadLetter, "change", letter.pk)).content.decode()
    assert ("47110815" in page) is values


def test_writing_a_resolution_resolves_an_alert(admin_client: Client, found: None) -> None:
    alert = SecurityAlert.objects.get()
    page = url(SecurityAlert, "change", alert.pk)

    admin_client.post(page, {"resolution": "It was a test."})
    alert.refresh_from_db()
    assert (alert.resolution, alert.resolved_by.username) == ("It was a test.", "admin")
    first = alert.resolved_at
    assert first is not None

    admin_client.post(page, {"resolution": "It was a drill."})
    alert.refresh_from_db()
    assert (alert.resolution, alert.resolved_at) == ("It was a drill.", first)

    admin_client.post(page, {"resolution": "  "})
    alert.refresh_from_db()
    assert (alert.resolution, alert.resolved_at, alert.resolved_by) == ("", None, None)


def test_a_family_is_marked_as_compromised(admin_client: Client, db: None) -> None:
    rows.family()
    assert "1 marked" in act(admin_client, TokenFamily, "mark_compromised")

    assert TokenFamily.objects.get().compromised_at is not None
    assert "0 marked" in act(admin_client, TokenFamily, "mark_compromised")


def test_a_dead_letter_is_dismissed(admin_client: Client, db: None) -> None:
    letter = rows.dead_letter()
    assert "1 dismissed" in act(admin_client, DeadLetter, "dismiss")

    assert DeadLetter.objects.get().state == "dismissed"
    assert process_dead_letter(letter.pk)["task_id"] is None


@pytest.mark.django_db(transaction=True)
def test_a_dead_letter_is_sent_again(admin_client: Client, broker: None) -> None:
    rows.dead_letter()
    assert "1 sent again" in act(admin_client, DeadLetter, "requeue")
    assert "0 sent again" in act(admin_client, DeadLetter, "requeue")

    letter, message = DeadLetter.objects.get(), OutboxMessage.objects.get()
    assert (letter.state, letter.requeued_as) == ("requeued", message.task_id)
    assert message.published_at is not None


def test_a_letter_that_no_message_can_hold_is_said_and_keeps_none_back(
    admin_client: Client, broker: None
) -> None:
    letter = rows.dead_letter()
    letter.message = letter.message.replace('"args": [', '"args": [-Infinity, ')
    letter.save()
    assert "-Infinity" in letter.message
    rows.dead_letter()
    page = act(admin_client, DeadLetter, "requeue")
    assert "1 sent again" in page
    assert "cannot be sent as JSON: Out of range float values" in page


def test_who_may_only_look_can_neither_send_nor_dismiss(client: Client, db: None) -> None:
    rows.dead_letter()
    user = get_user_model().objects.create_user("looks", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(user)

    for action in ("requeue", "dismiss"):
        act(client, DeadLetter, action)
    assert DeadLetter.objects.get().state == "open"


def test_a_report_is_a_table_and_nothing_to_save(admin_client: Client, found: None) -> None:
    report = Report.objects.get(kind="operations")
    report.content = {"completed": {"payroll.tasks.process_payroll": 250}, "dead_letters": 0}
    report.save()
    page = admin_client.get(url(Report, "change", report.pk)).content.decode()
    assert "completed: payroll.tasks.process_payroll</th><td>250</td>" in page
    assert "dead letters</th><td>0</td>" in page
    assert "_save" not in page


def test_a_dead_letter_leads_to_its_execution_and_has_nothing_to_save(
    admin_client: Client, found: None
) -> None:
    letter = DeadLetter.objects.get()
    page = admin_client.get(url(DeadLetter, "change", letter.pk)).content.decode()
    assert f'href="/admin/ledger/taskexecution/?q={letter.task_id}"' in page
    assert "_save" not in page
