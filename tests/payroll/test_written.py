"""From a payslip and a payment to the executions that wrote them, and back."""

from __future__ import annotations

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from ledger.models import TaskExecution
from payroll.models import Payment, Payslip
from payroll.tasks import financial_transaction, process_payroll
from tests.payroll.company import employee_with_week

pytestmark = pytest.mark.django_db


def page(client: Client, row: Model) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    response = client.get(reverse(name, args=[row.pk]))
    assert response.status_code == 200
    return response.content.decode()


def link(row: Model) -> str:
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return f'<a href="{url}">'


def test_a_payslip_and_its_payment_lead_to_their_executions_and_back(admin_client: Client) -> None:
    process_payroll(employee_with_week().pk, 2025, 10)
    payslip, payment = Payslip.objects.get(), Payment.objects.get()
    financial_transaction(payment.pk)
    paid, posted = TaskExecution.objects.order_by("-id")
    assert link(posted) in page(admin_client, payslip)
    assert link(paid) not in page(admin_client, payslip)
    for execution in (posted, paid):
        assert link(execution) in page(admin_client, payment)
        assert link(payment) in page(admin_client, execution)
    assert link(payslip) in page(admin_client, posted)


def test_what_no_execution_wrote_says_so(admin_client: Client) -> None:
    process_payroll(employee_with_week().pk, 2025, 10)
    other = Payslip.objects.get()
    other.pk, other.sequence, other.kind = None, 2, Payslip.Kind.CORRECTION
    other.save()
    assert "field-written_by" in page(admin_client, other)
    assert "taskexecution" not in page(admin_client, other).split("field-written_by")[1][:300]
