"""What can be wrong with a request for payroll. Each says what, for whom, and what to do next."""

from collections.abc import Mapping
from datetime import date


class PayrollError(Exception):
    """Nothing was posted."""


class BadMonth(PayrollError):
    def __init__(self, year: object, month: object) -> None:
        super().__init__(
            f"{year!r}, {month!r} is not a month:"
            " give a year from 1970 to 9998 and a month from 1 to 12."
        )


class MonthNotOver(PayrollError):
    def __init__(self, month: object, over_on: date) -> None:
        super().__init__(f"{month} is not over yet: run its payroll on {over_on} or later.")


class UnknownEmployee(PayrollError):
    def __init__(self, employee_id: object) -> None:
        super().__init__(
            f"There is no employee with id {employee_id!r}: look the id up in the admin,"
            " or import the employee with import_employees."
        )


class NotEmployed(PayrollError):
    def __init__(self, employee: object, month: object) -> None:
        super().__init__(
            f"{employee} is not employed in {month}:"
            " check the dates of the employment in the admin."
        )


class NoHourlyRate(PayrollError):
    def __init__(self, employee: object, day: date) -> None:
        super().__init__(
            f"{employee} worked on {day} but has no hourly rate that is valid then:"
            " add the rate in the admin, or import it with import_employees."
        )


class NothingPosted(PayrollError):
    def __init__(self, employee: object, month: object) -> None:
        super().__init__(
            f"{employee} has no payslip for {month} to correct: run generate_missing_payroll."
        )


class OtherCurrency(PayrollError):
    def __init__(self, employee: object, month: object, posted: str, now: str) -> None:
        super().__init__(
            f"{employee} has a payslip for {month} in {posted} and is paid in {now} now, so that no"
            f" difference can be posted: set the employee's currency and the rates of that month"
            f" back to {posted} in the admin, correct the month, and then change them again."
        )


class CannotBePaid(PayrollError):
    """Nothing was sent."""


class UnknownPayment(CannotBePaid):
    def __init__(self, payment_id: object) -> None:
        super().__init__(f"There is no payment with id {payment_id!r}: look it up in the admin.")


class PaymentNotPending(CannotBePaid):
    def __init__(self, payment: object, status: str) -> None:
        super().__init__(f"{payment} is {status}, and only a pending payment can be sent.")


class NoAccount(CannotBePaid):
    def __init__(self, payment: object, employee: object) -> None:
        super().__init__(
            f"{payment} has nowhere to go: {employee} has no IBAN. Add it in the admin, or import"
            " it with import_employees."
        )


class SettledMeanwhile(Exception):
    """The bank has booked a payment that is not pending in the books any more."""

    def __init__(self, payment_id: int, number: int) -> None:
        super().__init__(payment_id, number)

    def __str__(self) -> str:
        payment_id, number = self.args
        return (
            f"The bank booked payment {payment_id} as its number {number}, but somebody had posted"
            " it as sent meanwhile: find out who, and whether it was paid twice."
        )


class PayrollIncomplete(Exception):
    """Some employees of a bulk run were not paid. `failures` says why, by employee id."""

    def __init__(self, failures: Mapping[int, str], employees: int) -> None:
        super().__init__(failures, employees)
        self.failures = failures

    def __str__(self) -> str:
        failures, employees = self.args
        shown = [f"employee {pk}: {reason}" for pk, reason in list(failures.items())[:3]]
        more = f" And {len(failures) - 3} more." if len(failures) > 3 else ""
        return (
            f"{len(failures)} of {employees} employees were not paid. {' '.join(shown)}{more}"
            " Put that right and run it again: it goes on with those who are left."
        )
