"""The control: what payroll's own task does, without the ledger in front of it."""

from typing import Any

from celery import Task, shared_task

from payroll.months import Month
from payroll.services import post_payslip
from payroll.tasks import describe


@shared_task(bind=True, max_retries=2, name="payroll.demo.process_payroll_without_the_ledger")
def process_payroll_without_the_ledger(
    self: Task, employee_id: int, year: int, month: int
) -> dict[str, Any]:
    """Post an employee's payslip for a month, as often as somebody says so."""
    return describe(post_payslip(employee_id, Month(year, month)))
