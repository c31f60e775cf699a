"""Once for each employee and month. The payslip and the record that it was posted commit together.

The whole call is the key, however it is written: ``post_payslip.delay(7, 2026, 11)`` and
``post_payslip.delay(employee_id=7, year=2026, month=11)`` are the same execution.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from celery import shared_task

from examples.models import Employee, Payslip
from ledger import idempotent_task

TAX = Decimal("0.20")


@shared_task(max_retries=2)
@idempotent_task(ttl_hours=24 * 40)  # past the end of the month, when somebody may ask again
def post_payslip(employee_id: int, year: int, month: int) -> dict[str, Any]:
    employee = Employee.objects.get(pk=employee_id)
    net = (employee.salary * (1 - TAX)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    payslip = Payslip.objects.create(employee=employee, year=year, month=month, net=net)
    return {"payslip": payslip.pk, "net": net}
