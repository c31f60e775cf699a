from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from payroll.models import Employee, HourlyRate, PayPolicy

from . import cells as cell
from .csv_file import BadRow
from .run import Outcome

MASTER_DATA = (
    *("name", "currency", "time_zone", "pay_policy_id", "hired_on", "left_on"),
    *("email", "iban"),
)


class EmployeeImport:
    """Employees and their hourly rates. The last row about an employee has the last word."""

    model = Employee
    columns = (
        "number",
        "name",
        "currency",
        "time_zone",
        "pay_policy",
        "hired_on",
        "left_on",
        "hourly_rate",
        "rate_valid_from",
        "email",
        "iban",
    )

    def __init__(self) -> None:
        self.policies = dict(PayPolicy.objects.values_list("code", "id"))

    def write(self, rows: Sequence[dict[str, str]]) -> list[Outcome | BadRow]:
        known = Employee.objects.in_bulk(
            [row["number"] for row in rows if row["number"].isprintable()], field_name="number"
        )
        return [self._import(row, known) for row in rows]

    def _import(self, row: dict[str, str], known: dict[str, Employee]) -> Outcome | BadRow:
        try:
            said = self._employee(row)
            valid_from, amount = self._rate(row)
            employee = known.get(said.number)
            if employee is None:
                said.save()
                said.hourly_rates.create(valid_from=valid_from, amount=amount)
                known[said.number] = said
                return "added"
            new_rate = self._check_rate(employee, valid_from, amount)
        except BadRow as reason:
            return reason
        changes = [f for f in MASTER_DATA if getattr(employee, f) != getattr(said, f)]
        for field in changes:
            setattr(employee, field, getattr(said, field))
        if changes:
            employee.save(update_fields=changes)
        if new_rate:
            employee.hourly_rates.create(valid_from=valid_from, amount=amount)
        return "added" if new_rate else "changed" if changes else "unchanged"

    def _employee(self, row: dict[str, str]) -> Employee:
        code = cell.text(row, "pay_policy")
        if code not in self.policies:
            raise BadRow(f"pay_policy {code!r} is not known: import the policy first")
        employee = Employee(
            number=cell.text(row, "number"),
            name=cell.text(row, "name"),
            currency=cell.text(row, "currency"),
            time_zone=cell.zone(row, "time_zone").key,
            pay_policy_id=self.policies[code],
            hired_on=cell.day(row, "hired_on"),
            left_on=cell.optional_day(row, "left_on"),
            email=cell.optional_text(row, "email"),
            iban=cell.optional_text(row, "iban"),
        )
        cell.check_fields(employee, exclude={"pay_policy"})
        if employee.left_on and employee.left_on < employee.hired_on:
            raise BadRow(f"left_on {employee.left_on} is before hired_on {employee.hired_on}")
        return employee

    def _rate(self, row: dict[str, str]) -> tuple[date, Decimal]:
        rate = HourlyRate(
            valid_from=cell.day(row, "rate_valid_from"), amount=cell.decimal(row, "hourly_rate")
        )
        cell.check_fields(rate, exclude={"employee"})
        if rate.amount <= 0:
            raise BadRow(f"hourly_rate {rate.amount} is not more than nothing")
        return rate.valid_from, rate.amount

    def _check_rate(self, employee: Employee, valid_from: date, amount: Decimal) -> bool:
        """Whether the rate is new. What an hour was once worth is not for a file to change."""
        there = employee.hourly_rates.filter(valid_from=valid_from).first()
        if there and there.amount != amount:
            raise BadRow(
                f"hourly_rate from {valid_from} is {there.amount} already, not {amount}:"
                " give another day, or change it in the admin"
            )
        return there is None
