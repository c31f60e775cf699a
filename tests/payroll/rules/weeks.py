"""Short ways to write down a week of work."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from payroll.rules import Pay, Policy, Punch, month_pay

UTC = ZoneInfo("UTC")
MONDAY = date(2025, 11, 3)


def shift(day: date, start: str, end: str, zone: ZoneInfo = UTC, ref: int = 1) -> Punch:
    """A shift by the clock on the wall; an end not after the start is on the next day."""
    check_in = datetime.combine(day, time.fromisoformat(start), zone)
    ends_on = day if end > start else day + timedelta(days=1)
    return Punch(ref, check_in, datetime.combine(ends_on, time.fromisoformat(end), zone))


def days_of(hours: Sequence[float], start: date = MONDAY, at: str = "08:00") -> list[Punch]:
    """One shift a day of that many hours, beginning on `start`."""
    first = datetime.combine(start, time.fromisoformat(at), UTC)
    return [
        Punch(n, begin := first + timedelta(days=n), begin + timedelta(hours=length))
        for n, length in enumerate(hours)
        if length
    ]


def pay(
    punches: Iterable[Punch],
    policy: Policy | None = None,
    rate: str = "12",
    zone: ZoneInfo = UTC,
    holidays: Iterable[date] = (),
    first_day: date = date(2025, 11, 1),
    last_day: date = date(2025, 11, 30),
    left_on: date | None = None,
) -> Pay:
    return month_pay(
        punches,
        zone=zone,
        policy=policy or Policy(),
        rates=[(date.min, Decimal(rate))],
        holidays=frozenset(holidays),
        first_day=first_day,
        last_day=last_day,
        left_on=left_on,
    )


def minutes_of(result: Pay, kind: str) -> int:
    return sum(line.minutes for line in result.lines if line.kind == kind)


def amount_of(result: Pay, kind: str) -> Decimal:
    return sum((line.amount for line in result.lines if line.kind == kind), Decimal(0))
