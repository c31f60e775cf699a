from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from zoneinfo import ZoneInfo

import pytest

from payroll.rules import Policy, Punch
from payroll.rules.segments import segments
from payroll.rules.worked_time import Stretch, worked_time

from .weeks import MONDAY, minutes_of, pay, shift

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS = Policy(
    weekly_after=None, night_start=time(22), night_end=time(6), night_premium=Decimal("0.25")
)


def cut(
    punch: Punch, zone: ZoneInfo = BERLIN, policy: Policy = NIGHTS
) -> list[tuple[date, int, bool]]:
    stretches, _ = worked_time([punch], zone, 1)
    alike = groupby(segments(stretches, zone, policy), key=lambda s: (s.day, s.night))
    return [(day, sum(s.minutes for s in group), night) for (day, night), group in alike]


def test_a_night_shift_is_cut_at_ten_at_midnight_and_at_six() -> None:
    tuesday = MONDAY + timedelta(days=1)

    assert cut(shift(MONDAY, "20:00", "08:00", BERLIN)) == [
        (MONDAY, 120, False),
        (MONDAY, 120, True),
        (tuesday, 360, True),
        (tuesday, 120, False),
    ]


@pytest.mark.parametrize(
    ("saturday", "hours_after_midnight"), [(date(2025, 10, 25), 7), (date(2026, 3, 28), 5)]
)
def test_the_night_of_the_clock_change_is_an_hour_longer_or_shorter(
    saturday: date, hours_after_midnight: int
) -> None:
    sunday = saturday + timedelta(days=1)

    assert cut(shift(saturday, "22:00", "06:00", BERLIN)) == [
        (saturday, 120, True),
        (sunday, hours_after_midnight * 60, True),
    ]


def test_both_of_the_repeated_hours_are_told_apart() -> None:
    """2:30 happens twice on 26 October 2025: once at +02:00 and an hour later at +01:00."""
    sunday = date(2025, 10, 26)
    first = datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    second = datetime(2025, 10, 26, 1, 30, tzinfo=UTC)

    assert first.astimezone(BERLIN).time() == second.astimezone(BERLIN).time() == time(2, 30)
    assert cut(Punch(1, first, second)) == [(sunday, 60, True)]


def test_a_night_that_ends_within_the_repeated_hour_is_judged_by_the_clock_on_the_wall() -> None:
    """Until 2:30 it is night, then not, and from the second 2:00 to the second 2:30 it is again."""
    policy = Policy(night_start=time(22), night_end=time(2, 30))
    sunday = date(2025, 10, 26)

    assert cut(shift(sunday, "01:00", "04:00", BERLIN), policy=policy) == [
        (sunday, 90, True),
        (sunday, 30, False),
        (sunday, 30, True),
        (sunday, 90, False),
    ]


def test_days_are_those_of_the_employees_time_zone() -> None:
    start = datetime(2025, 11, 3, 22, tzinfo=UTC)
    punch = Punch(1, start, start + timedelta(hours=2))

    assert [day for day, *_ in cut(punch, ZoneInfo("UTC"))] == [date(2025, 11, 3)]
    assert [day for day, *_ in cut(punch, ZoneInfo("Asia/Kathmandu"))] == [date(2025, 11, 4)]


def test_a_stretch_that_ends_at_midnight_leaves_nothing_on_the_next_day() -> None:
    assert cut(shift(MONDAY, "22:00", "00:00", BERLIN)) == [(MONDAY, 120, True)]


def test_time_covered_twice_is_paid_once_and_reported() -> None:
    result = pay(
        [shift(MONDAY, "08:00", "12:00", ref=1), shift(MONDAY, "11:00", "13:00", ref=2)], NIGHTS
    )

    assert result.minutes == 5 * 60
    assert [(i.kind, i.ref, i.minutes) for i in result.issues] == [("overlap", 2, 60)]


def test_a_punch_inside_another_pays_nothing_more() -> None:
    stretches, issues = worked_time(
        [
            shift(MONDAY, "08:00", "16:00", ref=1),
            shift(MONDAY, "09:00", "10:00", ref=2),
            shift(MONDAY, "15:00", "17:00", ref=3),
        ],
        ZoneInfo("UTC"),
        1,
    )

    assert [s.end - s.start for s in stretches] == [480, 60]
    assert [(i.ref, i.minutes) for i in issues] == [(2, 60), (3, 60)]


def test_a_missing_check_out_pays_nothing_and_is_reported() -> None:
    open_punch = Punch(7, datetime(2025, 11, 3, 8, tzinfo=UTC), None)
    result = pay([open_punch], NIGHTS)

    assert result.gross == 0
    assert [(i.kind, i.ref) for i in result.issues] == [("missing_check_out", 7)]


def test_issues_of_the_month_before_are_not_reported_again() -> None:
    october = Punch(7, datetime(2025, 10, 31, 8, tzinfo=UTC), None)

    assert pay([october], NIGHTS).issues == ()


def test_work_after_the_last_day_of_employment_is_not_paid_and_is_reported() -> None:
    result = pay([shift(MONDAY, "22:00", "02:00", ref=3)], NIGHTS, left_on=MONDAY)

    assert result.minutes == 120
    assert [(i.kind, i.ref, i.minutes) for i in result.issues] == [("outside_employment", 3, 120)]


@pytest.mark.parametrize(
    ("punched", "counted"),
    [("08:07", 480), ("08:07:29", 480), ("08:07:30", 495), ("08:08", 495), ("08:53", 540)],
)
def test_a_punch_goes_to_the_nearest_quarter_and_the_middle_goes_up(
    punched: str, counted: int
) -> None:
    policy = Policy(minute_step=15, weekly_after=None)

    assert pay([shift(MONDAY, "00:00", punched)], policy).minutes == counted


def test_it_is_the_reading_of_the_clock_that_is_rounded() -> None:
    """Kathmandu is 5:45 ahead: by tenths of an hour, 8:02 there is 8:00, but 2:17 UTC is 2:18."""
    kathmandu = ZoneInfo("Asia/Kathmandu")
    policy = Policy(minute_step=6, weekly_after=None)

    assert pay([shift(MONDAY, "07:00", "08:02", kathmandu)], policy, zone=kathmandu).minutes == 60


def test_night_minutes_earn_their_premium() -> None:
    result = pay([shift(MONDAY, "20:00", "23:00")], NIGHTS, rate="10")

    assert minutes_of(result, "night") == 60
    assert result.gross == Decimal("32.50")


def test_a_stretch_loses_no_minute_to_the_cuts() -> None:
    stretch = Stretch(1, 29_000_000, 29_000_000 + 23 * 60)
    assert sum(s.minutes for s in segments([stretch], BERLIN, NIGHTS)) == 23 * 60
