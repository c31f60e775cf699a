"""What a test reads of payroll, all at once."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from payroll.models import Employee, JournalEntry, JournalLine, Payment, Payslip
from payroll.months import Month
from tests.payroll.factories import EmployeeFactory, WorkLogFactory

OCTOBER = Month(2025, 10)
MONDAY = date(2025, 10, 6)


def employee_with_week(hours: int = 8, days: int = 5, **employee: object) -> Employee:
    """Somebody who worked that week of October 2025: by default 40 hours at 20.00 EUR."""
    someone = EmployeeFactory.create(**employee)
    for n in range(days):
        WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=n), hours=hours)
    return someone


@dataclass(frozen=True)
class Books:
    """How much has been written."""

    payslips: int
    journal_entries: int
    payments: int


def books() -> Books:
    return Books(Payslip.objects.count(), JournalEntry.objects.count(), Payment.objects.count())


def balances(currency: str = "EUR") -> dict[str, Decimal]:
    """The balance of each account that has one."""
    totals: dict[str, Decimal] = {}
    for line in JournalLine.objects.filter(entry__currency=currency):
        totals[line.account] = totals.get(line.account, Decimal(0)) + line.amount
    return {account: total for account, total in totals.items() if total}
