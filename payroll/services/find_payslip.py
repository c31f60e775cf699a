from payroll.models import Payslip
from payroll.months import Month


def find_payslip(employee_id: int, month: Month) -> Payslip | None:
    """The employee's regular payslip for the month, if it is posted."""
    # "7" is nobody's id, though the database would find employee 7 by it.
    if type(employee_id) is not int:
        return None
    return Payslip.objects.filter(
        employee=employee_id, year=month.year, month=month.month, kind=Payslip.Kind.REGULAR
    ).first()
