"""The control: payroll's own task with the decorator taken off."""

from collections.abc import Callable
from inspect import unwrap
from typing import Any

from celery import Task, shared_task

from payroll.tasks import process_payroll

_task: Any = process_payroll
_body: Callable[..., dict[str, Any]] = unwrap(_task.run.__func__)


@shared_task(bind=True, max_retries=2, name="payroll.demo.process_payroll_without_the_ledger")
def process_payroll_without_the_ledger(
    self: Task, employee_id: int, year: int, month: int
) -> dict[str, Any]:
    """Post an employee's payslip for a month, as often as somebody says so."""
    return _body(self, employee_id, year, month)
