"""What everybody earned in a month, worked out from the CSV files alone, minute by minute.

The demo's second opinion, so it shares nothing with the application but the rules as the head of
``payroll`` numbers them: no import, exact fractions instead of decimals, and instead of cutting
shifts up it looks at every single minute that somebody worked. Holidays are copied from the laws.
"""

import csv
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import floor, inf
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

PREMIUMS = ("daily", "double", "weekly", "holiday")
MINUTES_A_DAY = 24 * 60
EPOCH = date(1970, 1, 1)
HOLIDAYS = {
    # Gesetz über die Sonn- und Feiertage (Berlin), § 1
    ("DE", "BE"): {date(2025, 10, 3)},
    # 5 U.S.C. § 6103
    ("US", ""): {date(2025, 10, 13), date(2025, 11, 11), date(2025, 11, 27)},
    # California Government Code § 6700, which left Columbus Day out
    ("US", "CA"): {date(2025, 11, 11), date(2025, 11, 27), date(2025, 11, 28)},
    ("", ""): set(),
}
"""By country and subdivision, from the last week of September to the end of November 2025."""


class Earned(NamedTuple):
    """Minutes worked, and money in ``currency``."""

    currency: str
    minutes: int
    gross: Decimal
    withholding: Decimal
    net: Decimal


@dataclass(frozen=True)
class Agreement:
    """A policy's figures. A threshold that it does not have is infinite."""

    week_start: int
    daily_after: float
    double_after: float
    weekly_after: float
    multipliers: dict[str, Fraction]
    """By premium, and 1 for none."""
    night: tuple[int, int]
    night_premium: Fraction
    holidays: set[date]
    minute_step: int
    money_step: Fraction
    withholding_rate: Fraction


class Sort(NamedTuple):
    """What tells minutes apart when they are paid."""

    day: date
    by_night: bool
    premium: str


def employed(folder: Path, first_day: date, last_day: date) -> list[str]:
    """The numbers of everybody employed on a day of the month, in the order of the file."""
    return [
        number
        for number, rows in _people(folder).items()
        if _hired_on(rows) <= last_day and _left_on(rows) >= first_day
    ]


def month_earnings(
    folder: Path, first_day: date, last_day: date, numbers: Iterable[str]
) -> dict[str, Earned]:
    """By employee number, for those numbers.

    ``folder`` holds pay_policies.csv, employees.csv and work_logs.csv; times in it have an offset.
    Raises KeyError for an unknown number, and for a country of which HOLIDAYS knows nothing.
    """
    agreements = {row["code"]: _agreement(row) for row in _rows(folder / "pay_policies.csv")}
    people, logs = _people(folder), _logs(folder, first_day, last_day)
    earned = {}
    for number in numbers:
        rows = people[number]
        agreement, left_on = agreements[rows[-1]["pay_policy"]], _left_on(rows)
        worked = _worked(logs[number], ZoneInfo(rows[-1]["time_zone"]), agreement.minute_step)
        since = max(_hired_on(rows), _week(first_day, agreement.week_start))
        sorts = _sort(worked, agreement, since, min(left_on, last_day))
        month = (first_day, last_day, left_on)
        minutes, gross = _price(sorts, agreement, _rates(rows), month)
        withholding = _rounded(gross * agreement.withholding_rate, agreement.money_step)
        money = [_decimal(amount) for amount in (gross, withholding, gross - withholding)]
        earned[number] = Earned(rows[-1]["currency"], minutes, *money)
    return earned


def _people(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The rows about each employee; the last one has the last word, but for the rates."""
    people = defaultdict(list)
    for row in _rows(folder / "employees.csv"):
        people[row["number"]].append(row)
    return people


def _hired_on(rows: list[dict[str, str]]) -> date:
    return date.fromisoformat(rows[-1]["hired_on"])


def _left_on(rows: list[dict[str, str]]) -> date:
    return date.fromisoformat(rows[-1]["left_on"] or "9999-12-31")


def _logs(folder: Path, first_day: date, last_day: date) -> dict[str, list[list[datetime]]]:
    """Check-in and check-out of each log that has both, by employee. Work of other months is left
    out where it cannot reach into this one or its first week: it would only take time."""
    logs = defaultdict(list)
    reach = (first_day - timedelta(days=9), last_day + timedelta(days=2))
    for row in _rows(folder / "work_logs.csv"):
        if row["check_out"]:
            punches = [datetime.fromisoformat(row[side]) for side in ("check_in", "check_out")]
            if reach[0] <= punches[0].date() <= reach[1]:
                logs[row["employee_number"]].append(punches)
    return logs


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _agreement(row: dict[str, str]) -> Agreement:
    clocks = (row["night_start"] or "00:00", row["night_end"] or "00:00")
    return Agreement(
        week_start=int(row["week_start"]),
        daily_after=float(row["daily_after"] or inf),
        double_after=float(row["double_after"] or inf),
        weekly_after=float(row["weekly_after"] or inf),
        multipliers={
            "": Fraction(1),
            **{kind: Fraction(row[f"{kind}_multiplier"]) for kind in PREMIUMS},
        },
        night=(_clock(clocks[0]), _clock(clocks[1])),
        night_premium=Fraction(row["night_premium"]),
        holidays=HOLIDAYS[row["holiday_country"], row["holiday_subdivision"]],
        minute_step=int(row["minute_step"]),
        money_step=Fraction(row["money_step"]),
        withholding_rate=Fraction(row["withholding_rate"]),
    )


def _clock(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _rates(rows: list[dict[str, str]]) -> list[tuple[date, Fraction]]:
    return sorted(
        (date.fromisoformat(row["rate_valid_from"]), Fraction(row["hourly_rate"])) for row in rows
    )


def _worked(logs: list[list[datetime]], zone: ZoneInfo, step: int) -> Iterator[tuple[date, int]]:
    """Rules 1 and 2: every minute worked, once, as its day and its minute of the day there."""
    minutes: set[int] = set()
    for check_in, check_out in logs:
        minutes.update(range(_punched(check_in, zone, step), _punched(check_out, zone, step)))
    for minute in sorted(minutes):
        days, of_day = divmod(minute + _offset(zone, minute // 15), MINUTES_A_DAY)
        yield _day(days), of_day


def _punched(punch: datetime, zone: ZoneInfo, step: int) -> int:
    """A punch in minutes since the epoch, moved by what its clock's reading has to move."""
    local = punch.astimezone(zone)
    reading = local.hour * 60 + local.minute + Fraction(local.second, 60)
    nearest = floor(reading / step + Fraction(1, 2)) * step
    return int(Fraction(int(punch.timestamp()), 60) + nearest - reading)


@cache
def _offset(zone: ZoneInfo, quarter: int) -> int:
    """The zone's offset from UTC in minutes; clocks change on a quarter of an hour at most."""
    offset = datetime.fromtimestamp(quarter * 900, UTC).astimezone(zone).utcoffset()
    return (offset or timedelta()) // timedelta(minutes=1)


@cache
def _day(days: int) -> date:
    return EPOCH + timedelta(days=days)


def _sort(
    worked: Iterator[tuple[date, int]], agreement: Agreement, since: date, until: date
) -> Counter[Sort]:
    """Rules 5 and 6, and whether it was night: how many minutes of each sort there are."""
    sorts: Counter[Sort] = Counter()
    in_day: Counter[date] = Counter()
    without_premium: Counter[date] = Counter()
    starts, ends = agreement.night
    for day, of_day in worked:
        if not since <= day <= until:
            continue
        in_day[day] += 1
        premium = _premium_of_day(in_day[day], day in agreement.holidays, agreement)
        if not premium:
            week = _week(day, agreement.week_start)
            without_premium[week] += 1
            if without_premium[week] > agreement.weekly_after:
                premium = "weekly"
        by_night = (of_day - starts) % MINUTES_A_DAY < (ends - starts) % MINUTES_A_DAY
        sorts[Sort(day, by_night, premium)] += 1
    return sorts


@cache
def _week(day: date, week_start: int) -> date:
    while day.weekday() != week_start:
        day -= timedelta(days=1)
    return day


def _premium_of_day(nth: int, holiday: bool, agreement: Agreement) -> str:
    """Rule 5, for the nth minute of a day; empty where it earns no premium by that."""
    overtime = ""
    if nth > agreement.daily_after:
        overtime = "daily"
    if nth > agreement.double_after:
        overtime = "double"
    if holiday and agreement.multipliers["holiday"] > agreement.multipliers[overtime]:
        return "holiday"
    return overtime


def _price(
    sorts: Counter[Sort],
    agreement: Agreement,
    rates: list[tuple[date, Fraction]],
    month: tuple[date, date, date],
) -> tuple[int, Fraction]:
    """Rules 3, 4 and 7 to 9: the minutes of the month, and what they and its weeks are worth."""
    first_day, last_day, left_on = month
    by_rate: Counter[tuple[str, Fraction]] = Counter()
    by_week: Counter[tuple[date, str]] = Counter()
    in_week: Counter[date] = Counter()
    earnings: dict[date, Fraction] = defaultdict(Fraction)
    for (day, by_night, premium), count in sorts.items():
        rate = rates[bisect_right(rates, day, key=lambda known: known[0]) - 1][1]
        week = _week(day, agreement.week_start)
        in_week[week] += count
        earnings[week] += count * rate * (1 + by_night * agreement.night_premium)
        if premium in ("daily", "double", "weekly"):
            by_week[week, premium] += count
        if day >= first_day:
            by_rate["hours", rate] += count
            by_rate["night", rate] += count * by_night
            by_rate["holiday", rate] += count * (premium == "holiday")

    shares = {
        "hours": Fraction(1),
        "night": agreement.night_premium,
        "holiday": agreement.multipliers["holiday"] - 1,
    }
    lines = [count * rate * shares[kind] for (kind, rate), count in by_rate.items()]
    for (week, kind), count in by_week.items():
        if first_day <= min(week + timedelta(days=6), left_on) <= last_day:
            regular_rate = earnings[week] / in_week[week]
            lines.append(count * regular_rate * (agreement.multipliers[kind] - 1))
    minutes = sum(count for (kind, _), count in by_rate.items() if kind == "hours")
    gross = sum((_rounded(line / 60, agreement.money_step) for line in lines), Fraction(0))
    return minutes, gross


def _rounded(amount: Fraction, step: Fraction) -> Fraction:
    """Half up."""
    return floor(amount / step + Fraction(1, 2)) * step


def _decimal(amount: Fraction) -> Decimal:
    return Decimal(amount.numerator) / Decimal(amount.denominator)
