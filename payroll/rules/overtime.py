"""Which minutes are overtime, and of which kind.

A minute earns one premium at most, and once it has earned one it does not count again towards the
weekly threshold ("no pyramiding": Alaska Stat. 23.10.060(b), and the crediting of daily overtime
and of holiday premiums in 29 CFR §§ 778.202 and 778.203). Overtime is the *last* work of the day
and of the week, so it never depends on work still to come.
"""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from .policy import Policy
from .segments import Segment

Premium = Literal["holiday", "overtime", "double_time", "weekly_overtime"]


@dataclass(frozen=True, slots=True)
class Portion:
    """Minutes of one day that are paid alike."""

    day: date
    minutes: int
    night: bool
    premium: Premium | None


def workweek(day: date, policy: Policy) -> date:
    """The first day of the fixed seven days that overtime is counted over (29 CFR § 778.105)."""
    return day - timedelta(days=(day.weekday() - policy.week_start) % 7)


def portions(
    segments: Iterable[Segment], policy: Policy, holidays: Container[date]
) -> Iterator[Portion]:
    """The segments, which come in order of time, cut where another premium begins."""
    day: date | None = None
    week: date | None = None
    in_day = plain_in_week = 0
    for segment in segments:
        if segment.day != day:
            day, in_day = segment.day, 0
            if workweek(day, policy) != week:
                week, plain_in_week = workweek(day, policy), 0
        left = segment.minutes
        while left:
            premium, room = _premium(in_day, plain_in_week, day in holidays, policy)
            minutes = left if room is None else min(left, room)
            yield Portion(segment.day, minutes, segment.night, premium)
            left -= minutes
            in_day += minutes
            if premium is None:
                plain_in_week += minutes


def _premium(
    in_day: int, plain_in_week: int, holiday: bool, policy: Policy
) -> tuple[Premium | None, int | None]:
    """What the next minute earns, and how many may follow before this must be asked again."""
    premium: Premium | None = None
    multiplier = Decimal(1)
    room: int | None = None
    if policy.double_after is not None and in_day >= policy.double_after:
        premium, multiplier = "double_time", policy.double_multiplier
    elif policy.daily_after is not None and in_day >= policy.daily_after:
        premium, multiplier = "overtime", policy.daily_multiplier
        room = policy.double_after - in_day if policy.double_after is not None else None
    else:
        ahead = [t for t in (policy.daily_after, policy.double_after) if t is not None]
        room = min(ahead) - in_day if ahead else None

    if holiday and policy.holiday_multiplier > multiplier:
        return "holiday", room
    if premium is None and policy.weekly_after is not None:
        until_weekly = policy.weekly_after - plain_in_week
        if until_weekly <= 0:
            return "weekly_overtime", room
        room = until_weekly if room is None else min(room, until_weekly)
    return premium, room
