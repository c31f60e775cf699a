from collections.abc import Iterator, Sequence
from typing import Any

from payroll.errors import NothingPosted
from payroll.management.payroll_command import PayrollCommand
from payroll.management.runs import Call, Outcome
from payroll.models import Employee
from payroll.models.employee import EmployeeQuerySet


class Command(PayrollCommand):
    help = (
        "Recompute a month that was posted, and post corrections where it is worth something else."
    )

    def everybody(self) -> EmployeeQuerySet:
        return super().everybody().filter(pk__in=self.with_payslip())

    def plan(
        self, employees: Sequence[Employee], options: dict[str, Any]
    ) -> Iterator[Call | Outcome]:
        posted = self.with_payslip()
        for employee in employees:
            if employee.pk in posted:
                yield self.recalculate(employee)
            else:
                yield Outcome(employee, "failed", str(NothingPosted(employee, self.month)))
