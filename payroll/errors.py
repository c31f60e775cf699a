"""What can be wrong with a request for payroll. Each says what, for whom, and what to do next."""

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


class UnknownPayment(PayrollError):
    def __init__(self, payment_id: object) -> None:
        super().__init__(f"There is no payment with id {payment_id!r}: look it up in the admin.")


class PaymentNotPending(PayrollError):
    def __init__(self, payment: object, status: str) -> None:
        super().__init__(f"{payment} is {status}, and only a pending payment can be sent.")
