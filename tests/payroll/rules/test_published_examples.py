"""Figures that labour authorities have published, with where each can be read."""

from datetime import date, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from payroll.rules import Policy
from payroll.rules.rounding import round_money

from .weeks import MONDAY, amount_of, days_of, minutes_of, pay, shift

NEW_YORK = ZoneInfo("America/New_York")
VANCOUVER = ZoneInfo("America/Vancouver")


def test_46_hours_at_12_dollars_come_to_588_dollars() -> None:
    """29 CFR § 778.110(a), U.S. Department of Labor: 46 hours at $12 plus 6 at $6."""
    result = pay(days_of([8, 8, 8, 8, 8, 6]), rate="12")

    assert amount_of(result, "regular") == Decimal("552.00")
    assert minutes_of(result, "weekly_overtime") == 6 * 60
    assert amount_of(result, "weekly_overtime") == Decimal("36.00")
    assert result.gross == Decimal("588.00")


def test_each_workweek_stands_alone() -> None:
    """29 CFR § 778.104: 30 hours in one week and 50 in the next are 10 hours of overtime."""
    result = pay(days_of([6, 6, 6, 6, 6, 0, 0, 10, 10, 10, 10, 10]))

    assert minutes_of(result, "regular") == 80 * 60
    assert minutes_of(result, "weekly_overtime") == 10 * 60


def test_41_hours_at_5_71_end_in_an_overtime_hour_of_8_57() -> None:
    """29 CFR § 778.322: at $5.71, hours 35 to 40 are worth $28.55 and the 41st is worth $8.57."""
    result = pay(days_of([8, 8, 8, 8, 9]), rate="5.71")
    at_35_hours = pay(days_of([8, 8, 8, 8, 3]), rate="5.71")
    at_40_hours = pay(days_of([8, 8, 8, 8, 8]), rate="5.71")

    assert at_40_hours.gross - at_35_hours.gross == Decimal("28.55")
    assert round_money(Decimal("5.71") * Decimal("1.5"), Decimal("0.01")) == Decimal("8.57")
    assert result.gross - at_40_hours.gross == Decimal("8.57")


def test_premiums_for_a_sunday_and_a_holiday_are_credited_to_overtime() -> None:
    """29 CFR § 778.205: 56 hours at $12, at $18 on Sunday and on the holiday, come to $768."""
    sunday = date(2025, 11, 2)
    result = pay(
        days_of([8] * 7, start=sunday),
        Policy(week_start=6, holiday_multiplier=Decimal("1.5")),
        rate="12",
        holidays=[sunday, sunday + timedelta(days=2)],
    )

    assert amount_of(result, "holiday") == Decimal("96.00")
    assert amount_of(result, "weekly_overtime") == 0
    assert result.gross == Decimal("768.00")


def test_a_shift_differential_counts_in_the_regular_rate() -> None:
    """U.S. Department of Labor, Fact Sheet #54, "Single Shift Differential".

    24 hours at $8 and 24 at $9 are $408, a regular rate of $8.50 and a half-time premium of $4.25;
    the eight hours of overtime earn $102 in all. One dollar of eight is a premium of an eighth.
    """
    evenings = Policy(night_start=time(16), night_end=time(0), night_premium=Decimal("0.125"))
    week = days_of([8, 8, 8], at="08:00") + days_of(
        [8, 8, 8], start=MONDAY + timedelta(days=3), at="16:00"
    )
    result = pay(week, evenings, rate="8")

    (overtime,) = [line for line in result.lines if line.kind == "weekly_overtime"]
    assert amount_of(result, "regular") + amount_of(result, "night") == Decimal("408.00")
    assert overtime.rate == Decimal("8.50")
    assert overtime.minutes == 8 * 60
    assert overtime.amount + 8 * overtime.rate == Decimal("102.00")


def test_punches_ten_minutes_early_and_seven_late_make_41_and_a_quarter_hours() -> None:
    """U.S. Department of Labor, Fact Sheet #53, rounding, example 2 (29 CFR § 785.48(b)).

    7:00 to 15:30 with half an hour of unpaid lunch; in at 6:50, out at 15:37, five days.
    """
    week = [
        punch
        for n in range(5)
        for punch in (
            shift(MONDAY + timedelta(days=n), "06:50", "11:00"),
            shift(MONDAY + timedelta(days=n), "11:30", "15:37"),
        )
    ]
    result = pay(week, Policy(minute_step=15))

    assert result.minutes == 41.25 * 60
    assert minutes_of(result, "weekly_overtime") == 1.25 * 60


@pytest.mark.parametrize(
    ("saturday", "hours"), [(date(2026, 3, 7), 7), (date(2025, 11, 1), 9), (date(2025, 11, 8), 8)]
)
def test_a_graveyard_shift_is_paid_for_the_hours_that_passed(saturday: date, hours: int) -> None:
    """U.S. Department of Labor, FLSA Hours Worked Advisor, "Daylight Savings Time".

    23:00 to 7:30 with half an hour of lunch is 7 hours when daylight saving time begins, 9 when it
    ends, and 8 on any other night.
    """
    night = [
        shift(saturday, "23:00", "03:30", NEW_YORK),
        shift(saturday + timedelta(days=1), "04:00", "07:30", NEW_YORK),
    ]
    result = pay(night, zone=NEW_YORK, first_day=date(2025, 11, 1), last_day=date(2026, 3, 31))

    assert result.minutes == hours * 60


def test_half_an_hour_after_an_eight_hour_day_is_daily_overtime() -> None:
    """British Columbia, Interpretation Guidelines Manual, ESA Part 4, section 35, example.

    9:00 to 17:30 with half an hour of unpaid lunch, then another half hour of closing up.
    """
    day = [
        shift(MONDAY, "09:00", "13:00", VANCOUVER),
        shift(MONDAY, "13:30", "18:00", VANCOUVER),
    ]
    result = pay(day, Policy(daily_after=8 * 60, double_after=12 * 60), zone=VANCOUVER)

    assert result.minutes == 8.5 * 60
    assert minutes_of(result, "overtime") == 30
    assert minutes_of(result, "double_time") == 0


def test_a_holiday_that_was_paid_but_not_worked_does_not_make_overtime() -> None:
    """California Labor Commissioner, Overtime FAQ: Monday to Thursday and Saturday, eight hours
    each, with the Friday off, are 40 hours worked and no overtime.
    """
    california = Policy(daily_after=8 * 60, double_after=12 * 60)
    result = pay(days_of([8, 8, 8, 8, 0, 8]), california, holidays=[MONDAY + timedelta(days=4)])

    assert result.minutes == 40 * 60
    assert {line.kind for line in result.lines} == {"regular"}
