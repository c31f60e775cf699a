from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from payroll import models
from payroll.services import post_payslip
from tests.payroll.company import OCTOBER, employee_with_week

pytestmark = pytest.mark.django_db

EDITABLE = [models.PayPolicy, models.Employee, models.WorkLog]
READ_ONLY = [models.Payslip, models.JournalEntry, models.Payment]


@pytest.fixture(autouse=True)
def company() -> None:
    post_payslip(employee_with_week(hours=10).pk, OCTOBER)


def url(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:payroll_{model._meta.model_name}_{page}", args=args)


def test_every_table_of_its_own_is_in_the_admin() -> None:
    shown = {model for model in admin.site._registry if model._meta.app_label == "payroll"}
    assert shown == {*EDITABLE, *READ_ONLY}


@pytest.mark.parametrize("model", EDITABLE + READ_ONLY)
def test_lists_searches_and_details_load(admin_client: Client, model: type[Any]) -> None:
    row = model.objects.first()
    listed = admin_client.get(url(model, "changelist"))
    assert listed.status_code == 200
    assert url(model, "change", row.pk) in listed.content.decode()
    assert admin_client.get(url(model, "changelist"), {"q": "E"}).status_code == 200
    assert admin_client.get(url(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize("model", EDITABLE + READ_ONLY)
def test_a_list_takes_as_many_queries_however_long_it_is(
    admin_client: Client, model: type[Any], django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for _ in range(5):
        post_payslip(employee_with_week(hours=10).pk, OCTOBER)
    with django_assert_max_num_queries(9):
        admin_client.get(url(model, "changelist"))


@pytest.mark.parametrize("model", READ_ONLY)
def test_what_was_posted_can_be_looked_at_and_not_touched(
    admin_client: Client, model: type[Any]
) -> None:
    row = model.objects.first()
    before = list(model.objects.values())

    assert admin_client.get(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "change", row.pk), {"amount": 1}).status_code == 403
    assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    admin_client.post(
        url(model, "changelist"), {"action": "delete_selected", "_selected_action": [row.pk]}
    )
    assert list(model.objects.values()) == before
    assert b'name="_save"' not in admin_client.get(url(model, "change", row.pk)).content


def test_a_payslip_shows_its_lines_and_a_journal_its_debits(admin_client: Client) -> None:
    payslip = models.Payslip.objects.get()
    entry = models.JournalEntry.objects.get()

    assert b"weekly_overtime" in admin_client.get(url(models.Payslip, "change", payslip.pk)).content
    assert b"-825.00" in admin_client.get(url(models.JournalEntry, "change", entry.pk)).content


def test_a_missing_check_out_can_be_found_and_filled_in(admin_client: Client) -> None:
    log = models.WorkLog.objects.all()[0]
    models.WorkLog.objects.filter(pk=log.pk).update(check_out=None)
    listed = admin_client.get(url(models.WorkLog, "changelist"), {"check_out__isempty": "1"})
    assert listed.context["cl"].result_count == 1

    form = {
        "employee": log.employee_id,
        "check_in_0": "2025-10-06",
        "check_in_1": "08:00:00",
        "check_out_0": "2025-10-06",
        "check_out_1": "17:30:00",
        "time_zone": "Europe/Berlin",
    }
    admin_client.post(url(models.WorkLog, "change", log.pk), form)
    log.refresh_from_db()
    assert log.check_out
    assert (log.check_out - log.check_in).total_seconds() == 9.5 * 3600

    wrong = {**form, "check_out_0": "2025-10-05", "time_zone": "Nowhere"}
    answer = admin_client.post(url(models.WorkLog, "change", log.pk), wrong).content.decode()
    assert "The check-out comes after the check-in." in answer
    assert "Nowhere is not a time zone" in answer
