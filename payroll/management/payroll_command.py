from argparse import ArgumentParser, ArgumentTypeError
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.utils import timezone

from payroll.errors import MonthNotOver, PayrollError
from payroll.models import Employee, Payslip
from payroll.models.employee import EmployeeQuerySet
from payroll.months import Month
from payroll.services import calculate, fingerprint, gather
from payroll.services.correct_payslip import difference
from payroll.tasks import process_payroll, recalculate_monthly_payroll_task

from .reporting import progress_bar, quiet_ledger, write_table
from .runs import Call, Outcome, Status, in_process, skipped

LABELS: dict[Status, str] = {
    "done": "done",
    "unchanged": "nothing to correct",
    "skipped": "skipped",
    "failed": "failed",
}


class PayrollCommand(BaseCommand):
    """A run of payroll for a month: who, what for each of them, and a table of what came of it.

    Exit status 1 if it failed for anybody. A command says in `plan` what is to be done.
    """

    month: Month
    verbosity: int

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--year", type=int, required=True)
        parser.add_argument("--month", type=int, required=True, help="1 to 12; it must be over")
        parser.add_argument(
            "--employees",
            type=_ids,
            metavar="ID,ID,…",
            help="ids of the employees; by default everybody concerned",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="say what would be done, and write nothing"
        )

    def handle(
        self,
        *,
        year: int,
        month: int,
        employees: list[int] | None,
        dry_run: bool,
        verbosity: int,
        **options: Any,
    ) -> None:
        self.verbosity = verbosity
        try:
            self.month = Month(year, month)
            if timezone.localdate() < self.month.over_on:
                raise MonthNotOver(self.month, self.month.over_on)
        except PayrollError as error:
            raise CommandError(str(error)) from None

        with quiet_ledger(verbosity):
            if dry_run:
                self._report(self._rehearse(self._select(employees), options), dry_run)
            else:
                plan = list(self.plan(self._select(employees), options))
                calls = [step for step in plan if isinstance(step, Call)]
                known = [step for step in plan if isinstance(step, Outcome)]
                self._report([*known, *self.run(calls, options)], dry_run)

    def everybody(self) -> EmployeeQuerySet:
        """Whom the command is about, unless it is told."""
        return Employee.objects.employed_in(self.month)

    def plan(
        self, employees: Sequence[Employee], options: dict[str, Any]
    ) -> Iterator[Call | Outcome]:
        """What to run for each employee, or what has already come of it. Writes nothing."""
        raise NotImplementedError

    def run(self, calls: Sequence[Call], options: dict[str, Any]) -> Iterable[Outcome]:
        return self.shown(in_process(calls), len(calls))

    def shown(self, outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
        """The outcomes as they come, counted on a progress bar."""
        with progress_bar(self.verbosity) as bar:
            yield from bar.track(outcomes, total=total, description=f"Payroll {self.month}")

    def with_payslip(self) -> set[int]:
        """The ids of those who have a payslip for the month."""
        return set(
            Payslip.objects.filter(year=self.month.year, month=self.month.month).values_list(
                "employee_id", flat=True
            )
        )

    def process(self, employee: Employee) -> Call:
        return Call(employee, process_payroll, (employee.pk, self.month.year, self.month.month))

    def recalculate(self, employee: Employee) -> Call:
        inputs = fingerprint(employee.pk, self.month)
        return Call(
            employee,
            recalculate_monthly_payroll_task,
            (employee.pk, self.month.year, self.month.month, inputs),
        )

    def _select(self, ids: list[int] | None) -> list[Employee]:
        if ids is None:
            employees = list(self.everybody())
            if not employees:
                raise CommandError(f"There is nobody to run this for in {self.month}.")
            return employees
        found = Employee.objects.in_bulk(ids)
        if unknown := [str(pk) for pk in ids if pk not in found]:
            raise CommandError(
                f"There are no employees with the ids {', '.join(unknown)}:"
                " look the ids up in the admin. Nothing was run."
            )
        away = [e for e in found.values() if not e.is_employed_in(self.month)]
        if away:
            raise CommandError(
                f"Not employed in {self.month}: {', '.join(f'{e} (id {e.pk})' for e in away)}."
                " Leave them out of --employees. Nothing was run."
            )
        return [found[pk] for pk in ids]

    def _rehearse(self, employees: Sequence[Employee], options: dict[str, Any]) -> list[Outcome]:
        """What `handle` would do, in a transaction that the database lets write nothing."""
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")
            outcomes = (
                self._forecast(step) if isinstance(step, Call) else step
                for step in self.plan(employees, options)
            )
            return list(self.shown(outcomes, len(employees)))

    def _forecast(self, call: Call) -> Outcome:
        known = call.known()
        if known["executed"]:
            return skipped(call, known)
        try:
            inputs = gather(call.employee.pk, self.month)
            pay = calculate(inputs)
            if call.task is recalculate_monthly_payroll_task:
                pay = difference(inputs, pay)
        except PayrollError as error:
            return Outcome(call.employee, "failed", str(error))
        return Outcome(
            call.employee,
            "done" if pay.lines or call.task is process_payroll else "unchanged",
            result={"net": str(pay.net), "currency": call.employee.currency},
        )

    def _report(self, outcomes: Sequence[Outcome], dry_run: bool) -> None:
        failed = [o for o in outcomes if o.status == "failed"]
        for detail, group in _by_detail(failed):
            self.stderr.write(f"{_names(group)}: {detail}")
        if self.verbosity > 1:
            for outcome in outcomes:
                self.stdout.write(f"{outcome.employee}: {outcome.status} {outcome.detail}")
        rows = []
        for status, label in LABELS.items():
            group = [o for o in outcomes if o.status == status]
            if group or status != "unchanged":
                rows.append((label, len(group), _total(group) if status == "done" else ""))
        title = f"Payroll {self.month}"
        if dry_run:
            title += ", a dry run: this is what would be done, and nothing was written"
        write_table(self.stdout, ("", "employees", "net posted"), rows, title)
        if failed:
            raise CommandError(
                f"{len(failed)} of {len(outcomes)} employees failed; the reasons are above."
                " Put them right and run the command again: what is done is not done twice."
            )


def _by_detail(outcomes: Iterable[Outcome]) -> Iterable[tuple[str, list[Outcome]]]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.detail].append(outcome)
    return groups.items()


def _names(outcomes: Sequence[Outcome]) -> str:
    shown = ", ".join(f"{o.employee} (id {o.employee.pk})" for o in outcomes[:5])
    return f"{shown} and {len(outcomes) - 5} more" if len(outcomes) > 5 else shown


def _total(outcomes: Iterable[Outcome]) -> str:
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for outcome in outcomes:
        totals[outcome.result["currency"]] += Decimal(outcome.result["net"])
    return ", ".join(f"{amount} {currency}" for currency, amount in sorted(totals.items()))


def _ids(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a list of ids: write 1,2,3") from None
