"""Payroll as Celery tasks. Each runs once per arguments, because the ledger says so.

Whatever posts a regular payslip goes through `process_payroll`, so that there is one key for it.
What follows from a payslip, its payment and its notification, is committed with it.
"""

from collections.abc import Sequence
from smtplib import SMTPRecipientsRefused
from typing import Any

from celery import Task, shared_task
from django.conf import settings

from ledger import current_execution, idempotent_task, non_idempotent
from ledger.execution import innermost
from payroll import bulk, chasing, paying
from payroll.models import Payslip
from payroll.months import Month
from payroll.services import (
    correct_payslip,
    find_missing,
    find_payslip,
    notify_employee,
    post_payslip,
)

GUARANTEE, PAY = paying.configured()


@shared_task(bind=True, max_retries=2, name="payroll.tasks.process_payroll")
@idempotent_task(ttl_hours=72, date_based=False)
def process_payroll(self: Task, employee_id: int, year: int, month: int) -> dict[str, Any]:
    """Post an employee's payslip for a month. Returns what `describe` says of it.

    A payslip that was posted before, by an execution that has expired or was cleared since, is
    left as it is and nothing follows from it again: only a correction changes a month.
    """
    if posted := find_payslip(employee_id, Month(year, month)):
        return describe(posted)
    payslip = post_payslip(employee_id, Month(year, month))
    note_for_the_audit(payslip)
    follow_up(payslip)
    return describe(payslip)


@shared_task(
    bind=True,
    max_retries=5,
    autoretry_for=GUARANTEE.worth_retrying,
    retry_backoff=True,
    name="payroll.tasks.financial_transaction",
)
@idempotent_task(ttl_hours=None, skip_on_duplicate=False, **GUARANTEE.options)
def financial_transaction(self: Task, transaction_id: int) -> dict[str, Any]:
    """Send a payment, by its id, to the bank, and post what the bank answers: see `paying`.

    Raises DuplicateExecution if it was sent, however long ago.
    """
    return PAY(transaction_id)


@shared_task(
    bind=True,
    max_retries=20,  # for some hours
    autoretry_for=(OSError,),  # which smtplib's errors are
    dont_autoretry_for=(SMTPRecipientsRefused,),
    retry_backoff=True,
    name="payroll.tasks.notify_payslip",
)
@idempotent_task(ttl_hours=72, guarantee="at_least_once")
def notify_payslip(self: Task, payslip_id: int) -> dict[str, Any]:
    """Tell the employee of a payslip by e-mail. Sent twice after a crash, it is the same message
    by its Message-ID. `to` is empty for somebody without an address."""
    to = notify_employee(payslip_id, current_execution().idempotency_key)
    return {"payslip_id": payslip_id, "to": to}


@shared_task(name="payroll.tasks.chase_payments")
@non_idempotent("looks at what is open, and sends it by tasks that are under the ledger")
def chase_payments() -> dict[str, int]:
    """Look after open payments, where payments are sent by themselves: see `chasing`."""
    if not settings.PAYROLL_FOLLOW_UPS:
        return {}
    found = chasing.chase_payments(financial_transaction)
    return {outcome: len(payments) for outcome, payments in found.items()}


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
    if payslip is None:
        return {"payslip_id": None}
    note_for_the_audit(payslip)
    follow_up(payslip)
    return describe(payslip)


@shared_task(
    bind=True,
    max_retries=2,
    autoretry_for=bulk.OF_THE_WHOLE_RUN,
    default_retry_delay=1,
    name="payroll.tasks.bulk_calculate_payroll_task",
)
@idempotent_task(ttl_hours=72, date_based=False, guarantee="at_least_once")
def bulk_calculate_payroll_task(
    self: Task, year: int, month: int, employee_ids: Sequence[int]
) -> dict[str, Any]:
    """Post the payslips of several employees, each in a step of its own: killed at any point, or
    out of time, the next delivery goes on behind the last one that was posted.

    Those who have a payslip for the month are not posted again. Returns the number of employees and
    their payslips' ids in the same order. Raises PayrollIncomplete once everybody had their turn,
    if it failed for some of them; the next delivery is about those.
    """
    Month(year, month)
    results = bulk.run_steps(lambda pk: process_payroll(pk, year, month), employee_ids)
    payslip_ids = [results[pk]["payslip_id"] for pk in employee_ids]
    return {"employees": len(results), "payslip_ids": payslip_ids}


def note_for_the_audit(payslip: Payslip) -> None:
    """This execution, where it is one, wrote the payslip and, if it says to pay, its payment."""
    if execution := innermost():
        payment = getattr(payslip, "payment", None)
        execution.wrote(*filter(None, (payslip, payment)))


def follow_up(payslip: Payslip) -> None:
    """Send the payslip's payment and notification if, and only if, it is committed."""
    if not settings.PAYROLL_FOLLOW_UPS:
        return
    execution = current_execution()
    if payment := getattr(payslip, "payment", None):
        execution.enqueue(financial_transaction.s(payment.pk))
    if payslip.employee.email:
        execution.enqueue(notify_payslip.s(payslip.pk))


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
