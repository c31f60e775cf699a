from django.db.models import Exists, OuterRef, QuerySet

from payroll.models import Employee, Payslip
from payroll.months import Month


def find_missing(month: Month) -> QuerySet[Employee]:
    """Those employed in the month who have no payslip for it."""
    posted = Payslip.objects.filter(employee=OuterRef("pk"), year=month.year, month=month.month)
    return Employee.objects.employed_in(month).filter(~Exists(posted))
