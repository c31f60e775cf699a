from datetime import datetime

from payroll.errors import MonthNotOver, NoHourlyRate, NotEmployed
from payroll.rules import MissingRate, Pay, month_pay
from payroll.rules.overtime import workweek

from .gather import Inputs


def calculate(inputs: Inputs) -> Pay:
    """What the month is worth. Writes nothing.

    Raises NotEmployed, NoHourlyRate, and MonthNotOver while it is that month where the employee is.
    """
    employee, month = inputs.employee, inputs.month
    if not employee.is_employed_in(month):
        raise NotEmployed(employee, month)
    if datetime.now(employee.zone).date() < month.over_on:
        raise MonthNotOver(month, month.over_on)
    since = workweek(month.first_day, inputs.policy)
    try:
        return month_pay(
            inputs.punches,
            zone=employee.zone,
            policy=inputs.policy,
            rates=inputs.rates,
            holidays=employee.pay_policy.holidays(since, month.last_day),
            first_day=month.first_day,
            last_day=month.last_day,
            hired_on=employee.hired_on,
            left_on=employee.left_on,
        )
    except MissingRate as error:
        raise NoHourlyRate(employee, error.day) from None
