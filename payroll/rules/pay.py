"""What a month of work is worth.

Each hour of a day is paid in the month of that day, with its night and holiday premiums. Overtime
premiums belong to a workweek and are paid in the month in which it ends (29 CFR § 778.106), or in
which the employment does. So a month never depends on work that comes after it.

Overtime is paid on the week's regular rate: what the week earned at its hourly rates and in night
premiums, divided by the hours worked in it (29 CFR §§ 778.109, 778.115, 778.207). Holiday premiums
are not part of it (29 CFR § 778.203).

Each line is rounded once, from exact figures, and the totals are sums of lines.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from .overtime import Portion, portions, workweek
from .policy import Policy
from .rounding import round_money
from .segments import Segment, segments
from .worked_time import Issue, Punch, worked_time

LineKind = Literal[
    "regular", "night", "holiday", "overtime", "double_time", "weekly_overtime", "withholding"
]
Rates = Sequence[tuple[date, Decimal]]
"""(valid from, amount per hour), oldest first."""


class MissingRate(LookupError):
    """Work on a day for which no hourly rate is known."""

    def __init__(self, day: date) -> None:
        super().__init__(f"no hourly rate is valid on {day}")
        self.day = day


@dataclass(frozen=True, slots=True)
class Line:
    """minutes / 60 x rate x multiplier, rounded; for withholding, rate is the gross pay."""

    kind: LineKind
    workweek: date | None
    minutes: int
    rate: Decimal
    multiplier: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Pay:
    """The lines of a month, what they come to, and what was left unpaid for somebody to look at."""

    lines: tuple[Line, ...]
    minutes: int
    gross: Decimal
    withholding: Decimal
    net: Decimal
    issues: tuple[Issue, ...]


@dataclass(slots=True)
class _Week:
    minutes: int = 0
    earnings: Decimal = Decimal(0)
    """Sixty times what the week earned: minutes times the rate per hour."""
    premium_minutes: dict[LineKind, int] = field(default_factory=lambda: defaultdict(int))


def month_pay(
    punches: Iterable[Punch],
    *,
    zone: ZoneInfo,
    policy: Policy,
    rates: Rates,
    holidays: Container[date],
    first_day: date,
    last_day: date,
    hired_on: date = date.min,
    left_on: date | None = None,
) -> Pay:
    """The pay for first_day to last_day, both included.

    `punches` must reach back to the beginning of the workweek that first_day lies in.
    Raises MissingRate for work on a day without a rate.
    """
    stretches, issues = worked_time(punches, zone, policy.minute_step)
    employed: list[Segment] = []
    for segment in segments(stretches, zone, policy):
        if segment.day < hired_on or (left_on is not None and segment.day > left_on):
            issues.append(Issue("outside_employment", segment.ref, segment.start, segment.minutes))
        elif segment.day <= last_day:
            employed.append(segment)

    earned = _Earnings(policy, rates, first_day, last_day, left_on or date.max)
    for portion in portions(employed, policy, holidays):
        earned.add(portion)
    lines = earned.lines()

    gross = sum((line.amount for line in lines), Decimal(0))
    withholding = round_money(gross * policy.withholding_rate, policy.money_step)
    if withholding:
        lines.append(Line("withholding", None, 0, gross, -policy.withholding_rate, -withholding))
    return Pay(
        lines=tuple(lines),
        minutes=earned.minutes,
        gross=gross,
        withholding=withholding,
        net=gross - withholding,
        issues=tuple(i for i in issues if first_day <= _day(i, zone) <= last_day),
    )


class _Earnings:
    """Adds up pieces of work, then prices the sums."""

    def __init__(
        self, policy: Policy, rates: Rates, first_day: date, last_day: date, left_on: date
    ) -> None:
        self.policy = policy
        self.rates = rates
        self.first_day, self.last_day, self.left_on = first_day, last_day, left_on
        self.minutes = 0
        self.by_rate: dict[LineKind, dict[Decimal, int]] = {
            "regular": defaultdict(int),
            "night": defaultdict(int),
            "holiday": defaultdict(int),
        }
        self.weeks: dict[date, _Week] = defaultdict(_Week)

    def add(self, portion: Portion) -> None:
        rate = self._rate(portion.day)
        week = self.weeks[workweek(portion.day, self.policy)]
        week.minutes += portion.minutes
        week.earnings += portion.minutes * rate
        if portion.night:
            week.earnings += portion.minutes * rate * self.policy.night_premium
        if portion.premium and portion.premium != "holiday":
            week.premium_minutes[portion.premium] += portion.minutes
        if portion.day < self.first_day:
            return
        self.minutes += portion.minutes
        self.by_rate["regular"][rate] += portion.minutes
        if portion.night:
            self.by_rate["night"][rate] += portion.minutes
        if portion.premium == "holiday":
            self.by_rate["holiday"][rate] += portion.minutes

    def lines(self) -> list[Line]:
        multipliers: dict[LineKind, Decimal] = {
            "regular": Decimal(1),
            "night": self.policy.night_premium,
            "holiday": self.policy.holiday_multiplier - 1,
            "overtime": self.policy.daily_multiplier - 1,
            "double_time": self.policy.double_multiplier - 1,
            "weekly_overtime": self.policy.weekly_multiplier - 1,
        }
        lines = [
            self._line(kind, None, minutes, rate * minutes, minutes, multipliers[kind])
            for kind, by_rate in self.by_rate.items()
            for rate, minutes in sorted(by_rate.items())
        ]
        for start, week in sorted(self.weeks.items()):
            closes = min(start + timedelta(days=6), self.left_on)
            if self.first_day <= closes <= self.last_day:
                for kind, minutes in sorted(week.premium_minutes.items()):
                    lines.append(
                        self._line(
                            kind, start, minutes, week.earnings, week.minutes, multipliers[kind]
                        )
                    )
        return [line for line in lines if line.amount]

    def _line(
        self,
        kind: LineKind,
        start: date | None,
        minutes: int,
        earnings: Decimal,
        earned_in: int,
        multiplier: Decimal,
    ) -> Line:
        # One division, last of all: a figure that is exactly half a cent stays exactly that.
        amount = minutes * earnings * multiplier / (60 * earned_in)
        rate = (earnings / earned_in).quantize(Decimal("0.0001"), rounding=ROUND_HALF_UP)
        return Line(
            kind, start, minutes, rate, multiplier, round_money(amount, self.policy.money_step)
        )

    def _rate(self, day: date) -> Decimal:
        index = bisect_right(self.rates, day, key=lambda rate: rate[0])
        if not index:
            raise MissingRate(day)
        return self.rates[index - 1][1]


def _day(issue: Issue, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(issue.at * 60, zone).date()
