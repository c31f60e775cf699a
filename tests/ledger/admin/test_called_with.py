"""A row of the business leads to the executions that were called with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from ledger import idempotent_task
from ledger.admin import called_with
from ledger.models import TaskExecution
from payroll.models import Employee
from tests.ledger.admin.site import detail, text_of
from tests.payroll.factories import EmployeeFactory

pytestmark = pytest.mark.django_db


@idempotent_task(ttl_hours=None)
def pay(employee_id: int, month: int) -> None:
    if month > 12:
        raise ValueError(month)


def page_of(client: Client, employee: Employee) -> str:
    page = client.get(reverse("admin:payroll_employee_change", args=[employee.pk]))
    return page.content.decode()


def test_an_employees_page_says_what_ran_for_her_how_it_ended_and_how_often_it_was_tried(
    admin_client: Client,
) -> None:
    dana, other = EmployeeFactory.create_batch(2)
    pay(dana.pk, 10)
    pay(other.pk, 9)
    for _ in range(2):
        with pytest.raises(ValueError, match="13"):
            pay(dana.pk, 13)
    page = page_of(admin_client, dana)
    for execution in TaskExecution.objects.filter(arguments__employee_id=dana.pk):
        assert f'href="{detail(execution)}"' in page
    text = text_of(page)
    assert f"completed {__name__}.pay month=10, employee_id={dana.pk}, claimed 20" in text
    assert "failed" in text
    assert "attempt 2" in text
    assert "month=9" not in text


def test_only_the_newest_and_the_way_to_all_of_them(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(called_with, "SHOWN", 2)
    dana = EmployeeFactory.create()
    for month in (1, 2, 3):
        pay(dana.pk, month)
    page = page_of(admin_client, dana)
    assert "month=1," not in page
    assert f'taskexecution/?q=employee_id%3D{dana.pk}">All of them' in page


def test_it_is_for_those_who_may_see_executions_and_values(client: Client) -> None:
    dana = EmployeeFactory.create()
    pay(dana.pk, 10)
    user = User.objects.create_user("eve", is_staff=True)
    client.force_login(user)

    def allow(*codenames: str) -> Any:
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return page_of(client, dana)

    assert "month=10" not in allow("view_employee", "view_taskexecution")
    assert "month=10" not in allow("view_employee", "can_view_values")
    assert "month=10" in allow("view_employee", "view_taskexecution", "can_view_values")


def test_somebody_new_has_none(admin_client: Client) -> None:
    assert (
        "called_with"
        not in admin_client.get(reverse("admin:payroll_employee_add")).content.decode()
    )
    assert "Executions: none" in text_of(page_of(admin_client, EmployeeFactory.create()))
