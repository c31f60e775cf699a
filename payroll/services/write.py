from datetime import UTC, datetime
from typing import Any

from django.db.models import Max, Sum

from payroll.models import Account, JournalEntry, Payment, Payslip, PayslipLine
from payroll.rules import Issue, Pay

from .gather import Inputs
from .journal import write_journal


def write_payslip(inputs: Inputs, pay: Pay, kind: Payslip.Kind) -> Payslip:
    """Write a payslip with its lines, its journal entry and, if the month is worth more by now than
    its payments, a payment of the rest.

    The caller holds the employee's lock, so the next sequence is nobody else's.
    """
    employee, month = inputs.employee, inputs.month
    posted = Payslip.objects.filter(
        employee=employee, year=month.year, month=month.month
    ).aggregate(
        last=Max("sequence"),
        net=Sum("net", default=0),
        paid=Sum("payment__amount", default=0),
    )
    payslip = Payslip.objects.create(
        employee=employee,
        year=month.year,
        month=month.month,
        sequence=(posted["last"] or 0) + 1,
        kind=kind,
        currency=employee.currency,
        minutes=pay.minutes,
        gross=pay.gross,
        withholding=pay.withholding,
        net=pay.net,
        issues=[_as_json(issue) for issue in pay.issues],
    )
    PayslipLine.objects.bulk_create(
        PayslipLine(
            payslip=payslip,
            kind=line.kind,
            workweek=line.workweek,
            minutes=line.minutes,
            rate=line.rate,
            multiplier=line.multiplier,
            amount=line.amount,
        )
        for line in pay.lines
    )
    write_journal(
        JournalEntry(
            payslip=payslip,
            currency=payslip.currency,
            description=f"Wages of {employee.number} for {month}, {kind}",
        ),
        {
            Account.WAGES_EXPENSE: pay.gross,
            Account.WITHHOLDING_PAYABLE: -pay.withholding,
            Account.WAGES_PAYABLE: -pay.net,
        },
    )
    # What a negative correction left in wages payable, owed by the employee, is set against it.
    due = posted["net"] + pay.net - posted["paid"]
    if due > 0:
        Payment.objects.create(payslip=payslip, amount=due, currency=payslip.currency)
    return payslip


def _as_json(issue: Issue) -> dict[str, Any]:
    return {
        "kind": issue.kind,
        "work_log": issue.ref,
        "at": datetime.fromtimestamp(issue.at * 60, UTC).isoformat(),
        "minutes": issue.minutes,
    }
