"""A long job: each step is done once, and a worker that dies at step 6,000 is resumed at 6,001.

A step commits its rows together with the record that it is done. The follow-up is a row as well:
it is published when, and only when, the close is committed, whatever dies in between.
"""

from typing import Any

from celery import shared_task

from examples.models import Employee, Payslip
from examples.once import send_alert
from ledger import current_execution, idempotent_task


@shared_task
@idempotent_task(ttl_hours=24 * 40, guarantee="at_least_once")
def close_month(year: int, month: int) -> dict[str, Any]:
    execution = current_execution()
    employees = Employee.objects.order_by("pk")
    for employee in employees:
        execution.step(f"payslip of {employee.pk}", post, employee, year, month)
    execution.enqueue(send_alert.si("Payroll", f"{year}-{month:02}: {len(employees)} paid"))
    return {"payslips": len(employees)}


def post(employee: Employee, year: int, month: int) -> int:
    return Payslip.objects.create(employee=employee, year=year, month=month, net=employee.salary).pk
