from django.db import transaction

from payroll.models import Payslip
from payroll.months import Month

from .calculate import calculate
from .gather import gather
from .write import write_payslip


@transaction.atomic(savepoint=False)
def post_payslip(employee_id: int, month: Month) -> Payslip:
    """Post what the employee earned in the month: a payslip, its journal entry and a payment.

    Raises UnknownEmployee, what calculate does, and IntegrityError if the month has its payslip.
    """
    inputs = gather(employee_id, month, lock=True)
    return write_payslip(inputs, calculate(inputs), Payslip.Kind.REGULAR)
