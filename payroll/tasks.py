"""Payroll as Celery tasks. Each runs once per arguments, because the ledger says so.

Whatever posts a regular payslip goes through `process_payroll`, so that there is one key for it.
"""

from collections.abc import Sequence
from typing import Any

from celery import Task, shared_task

from ledger import idempotent_task
from payroll.models import Payslip
from payroll.months import Month
from payroll.services import correct_payslip, find_missing, post_payslip, settle_payment


@shared_task(bind=True, max_retries=2, name="payroll.tasks.process_payroll")
@idempotent_task(ttl_hours=72, date_based=False)
def process_payroll(self: Task, employee_id: int, year: int, month: int) -> dict[str, Any]:
    """Post an employee's payslip for a month. Returns what `describe` says of it."""
    return describe(post_payslip(employee_id, Month(year, month)))


@shared_task(bind=True, max_retries=1, name="payroll.tasks.financial_transaction")
@idempotent_task(ttl_hours=24, skip_on_duplicate=False)
def financial_transaction(self: Task, transaction_id: int) -> dict[str, Any]:
    """Send a payment, by its id, and post it. Raises DuplicateExecution if it was sent."""
    payment = settle_payment(transaction_id)
    return {
        "payment_id": payment.pk,
        "amount": str(payment.amount),
        "currency": payment.currency,
        "status": payment.status,
    }


@shared_task(bind=True, max_retries=2, name="payroll.tasks.generate_missing_payroll_task")
@idempotent_task(ttl_hours=72, date_based=False)
def generate_missing_payroll_task(
    self: Task, employee_id: int, year: int, month: int
) -> dict[str, Any]:
    """Post an employee's payslip if the month has none; otherwise {"payslip_id": None}."""
    if find_missing(Month(year, month)).filter(pk=employee_id).exists():
        return process_payroll(employee_id, year, month)
    return {"payslip_id": None}


@shared_task(bind=True, max_retries=2, name="payroll.tasks.recalculate_monthly_payroll_task")
@idempotent_task(ttl_hours=72, date_based=False)
def recalculate_monthly_payroll_task(
    self: Task, employee_id: int, year: int, month: int, inputs: str
) -> dict[str, Any]:
    """Post a correction if the month is worth something else by now, or {"payslip_id": None}.

    `inputs` is services.fingerprint of the employee and month when the recalculation was asked
    for. It is part of the key: asked twice for the same reason it runs once, and a work log that
    arrives later is a new reason.
    """
    payslip = correct_payslip(employee_id, Month(year, month))
    return describe(payslip) if payslip else {"payslip_id": None}


@shared_task(bind=True, max_retries=2, name="payroll.tasks.bulk_calculate_payroll_task")
@idempotent_task(ttl_hours=72, date_based=False)
def bulk_calculate_payroll_task(
    self: Task, year: int, month: int, employee_ids: Sequence[int]
) -> dict[str, Any]:
    """Post the payslips of several employees in one transaction: all of them, or none.

    Those who were processed before are answered from the ledger. Returns the number of employees
    and their payslips' ids in the same order.
    """
    # By id, so that two of these cannot wait for each other's employees.
    results = {pk: process_payroll(pk, year, month) for pk in sorted(employee_ids)}
    payslip_ids = [results[pk]["payslip_id"] for pk in employee_ids]
    return {"employees": len(results), "payslip_ids": payslip_ids}


def describe(payslip: Payslip) -> dict[str, Any]:
    """A payslip as a task's result: ids, amounts as decimal strings, and how many issues it has."""
    payment = getattr(payslip, "payment", None)
    return {
        "payslip_id": payslip.pk,
        "employee_id": payslip.employee_id,
        "month": str(Month(payslip.year, payslip.month)),
        "sequence": payslip.sequence,
        "kind": str(payslip.kind),
        "minutes": payslip.minutes,
        "gross": str(payslip.gross),
        "net": str(payslip.net),
        "currency": payslip.currency,
        "payment_id": payment.pk if payment else None,
        "issues": len(payslip.issues),
    }
