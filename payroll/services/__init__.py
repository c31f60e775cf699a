"""What can be done with payroll, one file a verb. Tasks and commands both call these.

Each posting runs in the caller's transaction or in one of its own, and none of them answers a
second call as it did the first: that is the ledger's work.
"""

from .calculate import calculate
from .correct_payslip import correct_payslip
from .find_missing import find_missing
from .find_payslip import find_payslip
from .gather import fingerprint, gather
from .notify_employee import notify_employee
from .order_payment import forget_account, order_payment
from .post_payslip import post_payslip
from .settle_payment import settle_payment

__all__ = [
    "calculate",
    "correct_payslip",
    "find_missing",
    "find_payslip",
    "fingerprint",
    "forget_account",
    "gather",
    "notify_employee",
    "order_payment",
    "post_payslip",
    "settle_payment",
]
