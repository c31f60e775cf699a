from datetime import date, time, timedelta
from decimal import Decimal

import pytest

from payroll.rules import MissingRate, Policy, month_pay

from .weeks import MONDAY, UTC, amount_of, days_of, minutes_of, pay, shift

CALIFORNIA = Policy(daily_after=8 * 60, double_after=12 * 60)


def test_a_14_hour_day_in_california_is_8_plain_4_at_one_and_a_half_and_2_at_double_time() -> None:
    """The rule of Cal. Lab. Code § 510(a), without a published figure."""
    result = pay(days_of([14]), CALIFORNIA, rate="20")

    assert minutes_of(result, "overtime") == 4 * 60
    assert minutes_of(result, "double_time") == 2 * 60
    assert result.gross == Decimal("360.00")


def test_an_hour_of_daily_overtime_does_not_count_towards_the_week_again() -> None:
    """Alaska Stat. 23.10.060(b): daily overtime is left out when the week's hours are counted."""
    five_tens = pay(days_of([10] * 5), CALIFORNIA)
    six_tens = pay(days_of([10] * 6), CALIFORNIA)

    assert minutes_of(five_tens, "overtime") == 10 * 60
    assert minutes_of(five_tens, "weekly_overtime") == 0
    assert minutes_of(six_tens, "overtime") == 12 * 60
    assert minutes_of(six_tens, "weekly_overtime") == 8 * 60


def test_the_last_hours_of_the_week_are_the_overtime() -> None:
    result = pay(days_of([8, 8, 8, 8, 8, 8]), Policy(night_start=time(8), night_end=time(16)))

    assert minutes_of(result, "weekly_overtime") == 8 * 60


def test_a_holiday_hour_earns_the_greater_of_two_premiums_and_not_both() -> None:
    policy = Policy(daily_after=8 * 60, double_after=12 * 60, holiday_multiplier=Decimal("1.75"))
    result = pay(days_of([13]), policy, rate="10", holidays=[MONDAY])

    assert minutes_of(result, "holiday") == 12 * 60
    assert minutes_of(result, "overtime") == 0
    assert minutes_of(result, "double_time") == 60
    assert result.gross == Decimal("130") + Decimal("90") + Decimal("10")


def test_of_two_equal_premiums_it_is_the_overtime_which_pays_on_the_regular_rate() -> None:
    policy = Policy(
        daily_after=8 * 60,
        holiday_multiplier=Decimal("1.5"),
        night_start=time(0),
        night_end=time(23),
        night_premium=Decimal("0.5"),
    )
    result = pay(days_of([9]), policy, rate="10", holidays=[MONDAY])

    assert (minutes_of(result, "holiday"), minutes_of(result, "overtime")) == (8 * 60, 60)
    assert amount_of(result, "overtime") == Decimal("7.50")


def test_overtime_is_paid_in_the_month_in_which_its_workweek_ends() -> None:
    """29 CFR § 778.106. The week of Monday 27 October ends on Sunday 2 November 2025."""
    week = days_of([10] * 6, start=date(2025, 10, 27))
    october = pay(week, first_day=date(2025, 10, 1), last_day=date(2025, 10, 31))
    november = pay(week)

    assert october.minutes == 50 * 60
    assert minutes_of(october, "weekly_overtime") == 0
    assert november.minutes == 10 * 60
    assert minutes_of(november, "weekly_overtime") == 20 * 60


def test_the_last_workweek_of_a_leaver_ends_with_the_employment() -> None:
    friday = date(2025, 10, 31)
    week = days_of([10] * 5, start=date(2025, 10, 27))
    october = pay(week, first_day=date(2025, 10, 1), last_day=friday, left_on=friday)

    assert minutes_of(october, "weekly_overtime") == 10 * 60
    assert minutes_of(pay(week, left_on=friday), "weekly_overtime") == 0


def test_a_raise_in_the_middle_of_a_week_is_paid_from_its_day_on() -> None:
    result = month_pay(
        days_of([10] * 5),
        zone=UTC,
        policy=Policy(),
        rates=[(date(2025, 1, 1), Decimal(10)), (MONDAY + timedelta(days=3), Decimal(20))],
        holidays=frozenset(),
        first_day=date(2025, 11, 1),
        last_day=date(2025, 11, 30),
    )

    regular = {line.rate: line.minutes for line in result.lines if line.kind == "regular"}
    assert regular == {Decimal(10): 30 * 60, Decimal(20): 20 * 60}
    # A regular rate of (300 + 400) / 50 = 14 (29 CFR § 778.115), and 10 hours at half of it.
    assert amount_of(result, "weekly_overtime") == Decimal("70.00")


def test_work_on_a_day_without_a_rate_is_an_error_that_names_the_day() -> None:
    with pytest.raises(MissingRate, match="2025-11-03"):
        month_pay(
            days_of([8]),
            zone=UTC,
            policy=Policy(),
            rates=[(date(2025, 11, 4), Decimal(10))],
            holidays=frozenset(),
            first_day=date(2025, 11, 1),
            last_day=date(2025, 11, 30),
        )


def test_withholding_is_taken_from_the_rounded_gross() -> None:
    result = pay([shift(MONDAY, "08:00", "08:20")], Policy(withholding_rate=Decimal("0.3")), "10")

    assert result.gross == Decimal("3.33")
    assert result.withholding == Decimal("1.00")
    assert result.net == Decimal("2.33")
    assert sum(line.amount for line in result.lines) == result.net
