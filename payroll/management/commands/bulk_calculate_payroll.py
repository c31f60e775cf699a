from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from payroll.management.payroll_command import PayrollCommand
from payroll.management.runs import Call, Outcome, in_process, on_workers
from payroll.models import Employee


class Command(PayrollCommand):
    help = "Calculate and post a month's payroll, on the workers unless told otherwise."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-cache",
            action="store_true",
            help="do not take a posted month as settled: recompute it from the work logs, and post"
            " a correction where it is worth something else by now",
        )
        parser.add_argument(
            "--no-parallel",
            action="store_true",
            help="run in this process instead of fanning out to the workers",
        )
        parser.add_argument(
            "--timeout",
            type=float,
            default=60.0,
            metavar="SECONDS",
            help="give up on the workers when nothing has moved for so long (%(default)g)",
        )

    def plan(
        self, employees: Sequence[Employee], options: dict[str, Any]
    ) -> Iterator[Call | Outcome]:
        posted = self.with_payslip()
        for employee in employees:
            if employee.pk not in posted:
                yield self.process(employee)
            elif options["no_cache"]:
                yield self.recalculate(employee)
            else:
                yield Outcome(employee, "skipped", "has a payslip")

    def run(self, calls: Sequence[Call], options: dict[str, Any]) -> Iterable[Outcome]:
        if options["no_parallel"]:
            return in_process(calls)
        return on_workers(calls, options["timeout"])
