from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from payroll.rules import Pay, Policy, Punch, month_pay
from payroll.rules.segments import segments
from payroll.rules.worked_time import worked_time

Punches = list[Punch]
Holidays = frozenset[date]

ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Los_Angeles",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
    )
]
FIRST, LAST = date(2025, 10, 1), date(2025, 11, 30)
# Around the clock changes in Berlin (26 October) and in the United States (2 November).
AROUND = int(datetime(2025, 10, 20, tzinfo=UTC).timestamp()) // 60


@st.composite
def punch(draw: st.DrawFn) -> Punch:
    start = AROUND + draw(st.integers(0, 20 * 24 * 60))
    length = draw(st.integers(1, 16 * 60))
    return Punch(
        draw(st.integers(1, 1000)),
        datetime.fromtimestamp(start * 60, UTC),
        datetime.fromtimestamp((start + length) * 60, UTC),
    )


clock = st.integers(0, 95).map(lambda quarter: time(quarter // 4, quarter % 4 * 15))
policies = st.builds(
    Policy,
    week_start=st.integers(0, 6),
    daily_after=st.sampled_from([None, 8 * 60]),
    double_after=st.sampled_from([None, 12 * 60]),
    weekly_after=st.sampled_from([None, 40 * 60]),
    night_start=clock,
    night_end=clock,
    night_premium=st.sampled_from([Decimal(0), Decimal("0.25")]),
    holiday_multiplier=st.sampled_from([Decimal(1), Decimal("1.5"), Decimal(2)]),
    withholding_rate=st.sampled_from([Decimal(0), Decimal("0.3")]),
)
holiday_sets = st.frozensets(
    st.integers(0, 30).map(lambda n: date(2025, 10, 20) + timedelta(days=n)), max_size=3
)
zones = st.sampled_from(ZONES)


def priced(
    punches: Punches, zone: ZoneInfo, policy: Policy, holidays: Holidays = frozenset()
) -> Pay:
    return month_pay(
        punches,
        zone=zone,
        policy=policy,
        rates=[(date.min, Decimal("17.35")), (date(2025, 11, 5), Decimal("18.01"))],
        holidays=holidays,
        first_day=FIRST,
        last_day=LAST,
    )


def minutes_of(punch: Punch) -> range:
    assert punch.check_out
    return range(int(punch.check_in.timestamp()) // 60, int(punch.check_out.timestamp()) // 60)


@given(st.lists(punch(), max_size=12), zones, policies)
def test_segments_sum_to_the_worked_time(punches: Punches, zone: ZoneInfo, policy: Policy) -> None:
    stretches, issues = worked_time(punches, zone, 1)
    cut = list(segments(stretches, zone, policy))

    worked = sum(s.minutes for s in cut)
    assert worked == len({minute for p in punches for minute in minutes_of(p)})
    assert worked + sum(i.minutes for i in issues) == sum(len(minutes_of(p)) for p in punches)
    assert min((s.minutes for s in cut), default=1) > 0


@given(st.lists(punch(), max_size=4), zones, policies)
def test_every_minute_of_a_segment_is_on_its_day_and_on_its_side_of_the_night(
    punches: Punches, zone: ZoneInfo, policy: Policy
) -> None:
    stretches, _ = worked_time(punches, zone, 1)
    for segment in segments(stretches, zone, policy):
        for minute in range(segment.start, segment.start + segment.minutes):
            local = datetime.fromtimestamp(minute * 60, zone)
            assert (local.date(), policy.is_night(local.time())) == (segment.day, segment.night)


@given(st.lists(punch(), max_size=12), punch(), zones, policies, holiday_sets)
def test_more_work_never_pays_less(
    punches: Punches, more: Punch, zone: ZoneInfo, policy: Policy, holidays: Holidays
) -> None:
    less, pay = (priced(work, zone, policy, holidays) for work in (punches, [*punches, more]))

    assert pay.minutes >= less.minutes
    # A line can lose its half cent when a later one grows.
    assert pay.gross >= less.gross - policy.money_step * len(pay.lines)


@given(st.lists(punch(), max_size=12), zones, policies, holiday_sets)
def test_the_lines_add_up_and_no_hour_is_paid_below_its_rate(
    punches: Punches, zone: ZoneInfo, policy: Policy, holidays: Holidays
) -> None:
    pay = priced(punches, zone, policy, holidays)

    assert sum((line.amount for line in pay.lines), Decimal(0)) == pay.net
    assert pay.gross - pay.withholding == pay.net
    assert pay.gross >= pay.minutes * Decimal("17.35") / 60 - policy.money_step
    assert all(line.amount == line.amount.quantize(policy.money_step) for line in pay.lines)


@given(st.lists(punch(), max_size=12), zones, policies, st.randoms())
def test_the_order_of_the_punches_does_not_matter(
    punches: Punches, zone: ZoneInfo, policy: Policy, random: Random
) -> None:
    shuffled = punches[:]
    random.shuffle(shuffled)

    assert priced(shuffled, zone, policy).lines == priced(punches, zone, policy).lines


@given(st.lists(punch(), max_size=12), zones, policies, holiday_sets)
def test_two_months_are_worth_what_they_are_worth_together(
    punches: Punches, zone: ZoneInfo, policy: Policy, holidays: Holidays
) -> None:
    """Nothing falls between two months, and nothing is paid in both."""
    together = priced(punches, zone, policy, holidays)
    apart = [
        month_pay(
            punches,
            zone=zone,
            policy=policy,
            rates=[(date.min, Decimal("17.35")), (date(2025, 11, 5), Decimal("18.01"))],
            holidays=holidays,
            first_day=first,
            last_day=last,
        )
        for first, last in ((FIRST, date(2025, 10, 31)), (date(2025, 11, 1), LAST))
    ]

    assert sum(pay.minutes for pay in apart) == together.minutes
    lines = len(together.lines) + sum(len(pay.lines) for pay in apart)
    assert abs(sum(pay.gross for pay in apart) - together.gross) <= policy.money_step * lines
