"""How work becomes pay: pure functions of punches, a policy and rates. No database, no clock.

    punches ─▶ worked_time ─▶ segments ─▶ portions ─▶ month_pay
               rounded,       cut at      cut where   lines, each
               overlaps       midnight    a premium   rounded
               paid once      and night   begins      once

The rules themselves are written down at the head of the payroll package.
"""

from .holidays import public_holidays
from .pay import Line, MissingRate, Pay, Rates, month_pay
from .policy import Policy
from .worked_time import Issue, Punch

__all__ = [
    "Issue",
    "Line",
    "MissingRate",
    "Pay",
    "Policy",
    "Punch",
    "Rates",
    "month_pay",
    "public_holidays",
]
