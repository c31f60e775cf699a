from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ledger import check_idempotency_status
from ledger.models import State
from payroll.management.payroll_command import PayrollCommand
from payroll.management.reporting import step_bar
from payroll.management.runs import Call, Outcome, in_bulk, in_process, on_workers
from payroll.models import Employee
from payroll.tasks import bulk_calculate_payroll_task


class Command(PayrollCommand):
    help = (
        "Calculate and post a month's payroll, on the workers unless told otherwise. Killed at any"
        " point, the same command goes on where it was."
    )
    everyone: Sequence[Employee]

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
        self.everyone = employees
        posted = self.with_payslip()
        for employee in employees:
            if employee.pk not in posted:
                yield self.process(employee)
            elif options["no_cache"]:
                yield self.recalculate(employee)
            else:
                yield Outcome(employee, "skipped", "has a payslip")

    def run(self, calls: Sequence[Call], options: dict[str, Any]) -> Iterable[Outcome]:
        if not options["no_parallel"]:
            return self.shown(on_workers(calls, options["timeout"]), len(calls))
        if options["no_cache"]:
            return self.shown(in_process(calls), len(calls))
        return self._in_bulk(calls)

    def _in_bulk(self, calls: Sequence[Call]) -> list[Outcome]:
        """As one execution for everybody selected, which is what an earlier run of it is known by,
        those included who have their payslip from that."""
        task = bulk_calculate_payroll_task
        args = (self.month.year, self.month.month, sorted(e.pk for e in self.everyone))
        status = check_idempotency_status(task.name, args)
        if not calls and status["state"] not in {State.RUNNING, State.FAILED}:
            return []
        with step_bar(self.verbosity, status["key"], len(self.everyone), f"Payroll {self.month}"):
            return list(in_bulk(task, args, calls))
