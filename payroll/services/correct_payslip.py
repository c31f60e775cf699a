from dataclasses import replace
from decimal import Decimal

from django.db import transaction
from django.db.models import Max, Q, QuerySet, Sum

from payroll.errors import NothingPosted, OtherCurrency
from payroll.models import Payslip, PayslipLine
from payroll.months import Month
from payroll.rules import Line, Pay

from .calculate import calculate
from .gather import Inputs, gather
from .write import write_payslip


@transaction.atomic(savepoint=False)
def correct_payslip(employee_id: int, month: Month) -> Payslip | None:
    """Post the difference between what the month is worth now and what has been posted for it.

    Nothing that was posted is changed: lines that are no longer right are reversed and the right
    ones added, in a payslip of their own. Returns None if there is nothing to correct.
    Raises NothingPosted if the month has no payslip, OtherCurrency if it has one in another than
    the employee is paid in now, UnknownEmployee and what calculate does.
    """
    inputs = gather(employee_id, month, lock=True)
    change = difference(inputs, calculate(inputs))
    return write_payslip(inputs, change, Payslip.Kind.CORRECTION) if change.lines else None


def difference(inputs: Inputs, pay: Pay) -> Pay:
    """What has to be added to the month's payslips to make them say `pay`.

    Raises NothingPosted and OtherCurrency.
    """
    employee, month = inputs.employee, inputs.month
    slips = Payslip.objects.filter(employee=employee, year=month.year, month=month.month)
    posted = slips.aggregate(
        minutes=Sum("minutes"),
        gross=Sum("gross"),
        withholding=Sum("withholding"),
        net=Sum("net"),
        other_currency=Max("currency", filter=~Q(currency=employee.currency)),
    )
    if posted["minutes"] is None:
        raise NothingPosted(employee, month)
    if posted["other_currency"]:
        raise OtherCurrency(employee, month, posted["other_currency"], employee.currency)
    return replace(
        pay,
        lines=_lines_between(PayslipLine.objects.filter(payslip__in=slips), pay.lines),
        minutes=pay.minutes - posted["minutes"],
        gross=pay.gross - posted["gross"],
        withholding=pay.withholding - posted["withholding"],
        net=pay.net - posted["net"],
    )


def _lines_between(posted: QuerySet[PayslipLine], wanted: tuple[Line, ...]) -> tuple[Line, ...]:
    """The lines that turn the sum of the posted ones into the wanted ones, reversals first."""
    columns = ("kind", "workweek", "rate", "multiplier")
    said = posted.order_by().values_list(*columns).annotate(Sum("minutes"), Sum("amount"))
    changes = {tuple(line[:4]): [-line[4], -line[5]] for line in said}
    for line in wanted:
        change = changes.setdefault(
            (line.kind, line.workweek, line.rate, line.multiplier), [0, Decimal(0)]
        )
        change[0] += line.minutes
        change[1] += line.amount
    return tuple(
        Line(kind, workweek, minutes, rate, multiplier, amount)
        for (kind, workweek, rate, multiplier), (minutes, amount) in changes.items()
        if minutes or amount
    )
