from collections.abc import Iterator, Sequence
from typing import Any

from payroll.management.payroll_command import PayrollCommand
from payroll.management.runs import Call, Outcome
from payroll.models import Employee


class Command(PayrollCommand):
    help = "Post the payslips that a month lacks."

    def plan(
        self, employees: Sequence[Employee], options: dict[str, Any]
    ) -> Iterator[Call | Outcome]:
        posted = self.with_payslip()
        for employee in employees:
            call = self.process(employee)
            if employee.pk in posted:
                yield Outcome(employee, "skipped", "has a payslip")
            elif (known := call.known())["executed"]:
                yield Outcome(
                    employee,
                    "failed",
                    f"has no payslip, but the ledger has it as done (payslip"
                    f" {known['result']['payslip_id']}). Find out where that went; then let it run"
                    f" again with 'manage.py ledger clear {known['key']} --reason \"…\"'.",
                )
            else:
                yield call
