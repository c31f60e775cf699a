"""How work becomes pay: pure functions of punches, a policy and rates. No database, no clock.

punches ─▶ worked_time ─▶ segments ─▶ tiered ─▶ month_pay
           rounded,       cut at       which      lines, each
           overlaps       midnight     minutes    rounded once
           paid once      and night    are over-
                                       time
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
