from dataclasses import dataclass
from datetime import time
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Policy:
    """How an employee is paid. Thresholds are minutes, multipliers and premiums shares of a rate.

    A threshold of None switches that rule off. A multiplier is what an hour costs in all (1.5 is
    time and a half), a premium is what comes on top of the hour (0.25 is a quarter more).
    """

    week_start: int = 0
    """The weekday a workweek begins on, Monday is 0."""
    daily_after: int | None = None
    daily_multiplier: Decimal = Decimal("1.5")
    double_after: int | None = None
    double_multiplier: Decimal = Decimal("2")
    weekly_after: int | None = 40 * 60
    weekly_multiplier: Decimal = Decimal("1.5")
    night_start: time | None = None
    night_end: time | None = None
    night_premium: Decimal = Decimal("0")
    holiday_multiplier: Decimal = Decimal("1")
    minute_step: int = 1
    """Punches are rounded to the nearest multiple of this, in minutes; it divides 60."""
    money_step: Decimal = Decimal("0.01")
    """Amounts are rounded to the nearest multiple of this, in the currency's unit."""
    withholding_rate: Decimal = Decimal("0")

    def is_night(self, clock: time) -> bool:
        """Whether that reading of the clock lies in the night window, which may span midnight."""
        if self.night_start is None or self.night_end is None:
            return False
        if self.night_start <= self.night_end:
            return self.night_start <= clock < self.night_end
        return clock >= self.night_start or clock < self.night_end
