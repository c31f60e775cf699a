from .employee import Employee, HourlyRate
from .journal import Account, JournalEntry, JournalLine
from .pay_policy import PayPolicy
from .payment import Payment
from .payslip import Payslip, PayslipLine
from .work_log import WorkLog

__all__ = [
    "Account",
    "Employee",
    "HourlyRate",
    "JournalEntry",
    "JournalLine",
    "PayPolicy",
    "Payment",
    "Payslip",
    "PayslipLine",
    "WorkLog",
]
