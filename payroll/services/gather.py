import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Max, Q

from payroll.errors import UnknownEmployee
from payroll.models import Employee, Payslip
from payroll.models.work_log import LONGEST_LOG
from payroll.months import Month
from payroll.rules import Policy, Punch
from payroll.rules.overtime import workweek


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that an employee's pay for a month is calculated from."""

    employee: Employee
    month: Month
    policy: Policy
    rates: list[tuple[date, Decimal]]
    punches: list[Punch]


def gather(employee_id: int, month: Month, *, lock: bool = False) -> Inputs:
    """Read the employee, the rates, and the work logs from the month's first workweek on.

    `lock` keeps others who lock from posting for the employee until the transaction ends.
    Raises UnknownEmployee.
    """
    employees = Employee.objects.select_related("pay_policy")
    if lock:
        # No key update: a foreign key to the employee can still be written meanwhile.
        employees = employees.select_for_update(no_key=True, of=("self",))
    # "7" would find employee 7 under another key than 7 does, and be paid beside it.
    employee = employees.filter(pk=employee_id).first() if type(employee_id) is int else None
    if employee is None:
        raise UnknownEmployee(employee_id)

    policy = employee.pay_policy.as_rules()
    since = _midnight(workweek(month.first_day, policy), employee)
    until = _midnight(month.over_on, employee)
    logs = employee.work_logs.filter(
        Q(check_out=None) | Q(check_out__gt=since),
        check_in__gt=since - LONGEST_LOG,
        check_in__lt=until,
    )
    return Inputs(
        employee=employee,
        month=month,
        policy=policy,
        rates=list(employee.hourly_rates.values_list("valid_from", "amount")),
        punches=[Punch(*log) for log in logs.values_list("id", "check_in", "check_out")],
    )


def fingerprint(employee_id: int, month: Month) -> str:
    """A name for what is known and what is posted, 16 hexadecimal digits.

    It changes when a work log, a rate, the policy or the employment does, and with every payslip
    posted for the month. So the same recalculation asked for twice has one fingerprint, and a new
    reason to recalculate has a new one.
    """
    inputs = gather(employee_id, month)
    employee = inputs.employee
    posted = Payslip.objects.filter(
        employee=employee, year=month.year, month=month.month
    ).aggregate(last=Max("sequence"))
    known = [
        asdict(inputs.policy),
        [employee.pay_policy.holiday_country, employee.pay_policy.holiday_subdivision],
        [employee.currency, employee.time_zone, employee.hired_on, employee.left_on],
        inputs.rates,
        [asdict(punch) for punch in inputs.punches],
        posted["last"],
    ]
    text = json.dumps(known, cls=DjangoJSONEncoder)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _midnight(day: date, employee: Employee) -> datetime:
    return datetime.combine(day, time(), employee.zone).astimezone(UTC)
