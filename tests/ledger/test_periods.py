"""Every moment lies in one period of each kind, and a period's label names it and no other."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import shared_task
from django.test import override_settings
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from ledger import (
    UnusableArgument,
    check_idempotency_status,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
    make_idempotency_key,
    periods,
)
from ledger.keys import task_of
from ledger.models import TaskExecution
from ledger.periods import MAX_LABEL, PERIODS, Period, parse
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = dt.timedelta(hours=1)

# Lord Howe's clocks change by half an hour, Nepal's differ by 5:45, Apia's skipped a day once.
ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
)
INSTANTS = st.datetimes(
    min_value=dt.datetime(2015, 1, 1), max_value=dt.datetime(2037, 1, 1), timezones=st.just(dt.UTC)
)
KINDS = st.sampled_from(PERIODS)


@shared_task
@idempotent_task(period="hour")
def hourly(employee: int = 0) -> list[str]:
    execution = current_execution()
    return [execution.key, str(execution.period)]


@shared_task
@idempotent_task(period="week", ttl_hours=24 * 7)
def weekly(employee: int = 0) -> list[str]:
    execution = current_execution()
    return [execution.key, str(execution.period)]


@shared_task
@idempotent_task(period="month", ttl_hours=24 * 31)
def monthly(employee: int = 0) -> list[str]:
    execution = current_execution()
    return [execution.key, str(execution.period)]


@pytest.fixture
def berlin(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


def of(moment: dt.datetime, kind: str, zone: str = "Europe/Berlin") -> Period:
    with override_settings(TIME_ZONE=zone):
        return parse(moment, "date", kind)


class TestEveryMoment:
    @given(INSTANTS, KINDS, ZONES)
    def test_lies_in_the_period_that_its_label_names(
        self, moment: dt.datetime, kind: str, zone: str
    ) -> None:
        period = of(moment, kind, zone)
        with override_settings(TIME_ZONE=zone):
            assert parse(period.label, "date", kind) == period
            assert parse(moment.isoformat(), "date", kind) == period
        assert len(period.label) <= MAX_LABEL

    @given(INSTANTS, KINDS, ZONES)
    def test_lies_in_the_period_that_begins_last_before_it(
        self, moment: dt.datetime, kind: str, zone: str
    ) -> None:
        start = _instant(of(moment, kind, zone).start, zone)
        assert start <= moment
        assert of(start, kind, zone) == of(moment, kind, zone)
        assert of(start - dt.timedelta(seconds=1), kind, zone) != of(moment, kind, zone)

    @given(INSTANTS, INSTANTS, KINDS, ZONES)
    def test_comes_in_no_earlier_a_period_than_those_before_it(
        self, one: dt.datetime, other: dt.datetime, kind: str, zone: str
    ) -> None:
        first, second = sorted((one, other))
        starts = [_instant(of(moment, kind, zone).start, zone) for moment in (first, second)]
        assert starts == sorted(starts)

    @given(INSTANTS, KINDS)
    def test_is_pinned_by_the_hour(self, moment: dt.datetime, kind: str) -> None:
        local = moment.astimezone(BERLIN)
        with pytest.MonkeyPatch.context() as patch, override_settings(TIME_ZONE="Europe/Berlin"):
            patch.setattr(periods, "now", lambda: local)
            headers: dict[str, Any] = {}
            periods.pin(headers)
            assert periods.pinned(headers, kind) == periods.current(kind)

    @given(INSTANTS, KINDS)
    def test_makes_a_key_of_the_ledgers(self, moment: dt.datetime, kind: str) -> None:
        label = of(moment, kind).label
        assert task_of(f"idempotent:a:b:{'0' * 64}:{label}") == "a:b"

    @given(st.datetimes(timezones=st.just(BERLIN)), KINDS)
    @example(dt.datetime.max.replace(tzinfo=BERLIN), "week")
    @example(dt.datetime.min.replace(tzinfo=dt.UTC), "month")
    def test_of_any_year_has_a_period_or_is_refused(self, moment: dt.datetime, kind: str) -> None:
        try:
            assert of(moment, kind).label
        except UnusableArgument:
            assert moment.year in (1, 9999)


@pytest.mark.usefixtures("berlin")
class TestLabels:
    @pytest.mark.parametrize(
        ("kind", "label", "start"),
        [
            ("hour", "2025-11-24T13", dt.datetime(2025, 11, 24, 13, tzinfo=BERLIN)),
            ("day", "2025-11-24", dt.date(2025, 11, 24)),
            ("week", "2025-W48", dt.date(2025, 11, 24)),
            ("month", "2025-11", dt.date(2025, 11, 1)),
        ],
    )
    def test_they_read_as_people_write_them(self, kind: str, label: str, start: dt.date) -> None:
        assert of(dt.datetime(2025, 11, 24, 13, 59, tzinfo=BERLIN), kind) == (label, start)

    @pytest.mark.parametrize(
        ("day", "week"),
        [("2024-12-30", "2025-W01"), ("2027-01-03", "2026-W53"), ("2026-11-29", "2026-W48")],
    )
    def test_a_week_is_of_the_year_that_iso_8601_gives_it(self, day: str, week: str) -> None:
        assert parse(day, "date", "week").label == week

    def test_the_hour_that_comes_twice_in_autumn_is_two_periods(self) -> None:
        before = dt.datetime(2026, 10, 24, 23, 30, tzinfo=dt.UTC)
        labels = [of(before + n * HOUR, "hour").label for n in range(4)]
        assert labels == [
            "2026-10-25T01",
            "2026-10-25T02+02:00",
            "2026-10-25T02+01:00",
            "2026-10-25T03",
        ]

    def test_the_hour_that_never_comes_in_spring_is_none(self) -> None:
        before = dt.datetime(2026, 3, 29, 0, 30, tzinfo=dt.UTC)
        labels = [of(before + n * HOUR, "hour").label for n in range(2)]
        assert labels == ["2026-03-29T01", "2026-03-29T03"]

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("2026-10-25T02", r"twice.*2026-10-25T02\+02:00 or 2026-10-25T02\+01:00"),
            ("2026-10-25T02:30", "twice"),
            (dt.datetime(2026, 10, 25, 2), "twice"),
            ("2026-03-29T02", "never"),
        ],
    )
    def test_an_hour_that_could_be_two_is_asked_for_its_offset(
        self, value: object, told: str
    ) -> None:
        with pytest.raises(UnusableArgument, match=f"the clocks of Europe/Berlin show {told}"):
            parse(value, "date", "hour")
        assert parse(value, "date", "day").label in ("2026-10-25", "2026-03-29")


@pytest.mark.usefixtures("berlin")
class TestWhatNamesAPeriod:
    NAMES: dict[str, list[object]] = {
        "hour": ["2025-11-24T13", "2025-11-24T13:45+01:00", dt.datetime(2025, 11, 24, 13)],
        "day": ["2025-11-24", "20251124", dt.date(2025, 11, 24)],
        "week": ["2025-W48"],
        "month": ["2025-11"],
    }
    SHORTER = {
        "hour": ["hour"],
        "day": ["hour", "day"],
        "week": ["hour", "day", "week"],
        "month": ["hour", "day", "month"],
    }

    @pytest.mark.parametrize("kind", PERIODS)
    def test_itself_or_a_shorter_one_within_it(self, kind: str) -> None:
        expected = of(dt.datetime(2025, 11, 24, 12, tzinfo=dt.UTC), kind)
        for shape, values in self.NAMES.items():
            for value in values:
                if shape in self.SHORTER[kind]:
                    assert parse(value, "date", kind) == expected
                else:
                    with pytest.raises(UnusableArgument, match="write a"):
                        parse(value, "date", kind)

    @pytest.mark.parametrize("kind", [*PERIODS, None])
    @pytest.mark.parametrize(
        "value",
        [
            "",
            "yesterday",
            "24.11.2025",
            "2025-W60",
            "2025-13",
            "2025-11-24T25",
            "٢٠٢٥-١١",
            2025,
            [],
        ],
    )
    def test_nothing_else(self, kind: str | None, value: object) -> None:
        with pytest.raises(UnusableArgument, match=r"date is .*; write a"):
            parse(value, "date", kind)

    def test_a_moment_says_nothing_of_a_task_that_is_not_known(self) -> None:
        for label in ("2025-11-24T13", "2025-11-24", "2025-W48", "2025-11"):
            assert make_idempotency_key("t", date_based=True, date=label).endswith(f":{label}")
        with pytest.raises(UnusableArgument, match="write a date"):
            make_idempotency_key("t", date_based=True, date=dt.datetime(2025, 11, 24, 13))


@commits
@pytest.mark.usefixtures("berlin")
class TestRuns:
    def test_a_task_runs_once_a_period(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moment = dt.datetime(2025, 11, 24, 13, 5, tzinfo=BERLIN)
        for task, step, label in (
            (hourly, HOUR, "2025-11-24T13"),
            (weekly, 7 * 24 * HOUR, "2025-W48"),
            (monthly, 30 * 24 * HOUR, "2025-11"),
        ):
            monkeypatch.setattr(periods, "now", lambda: moment)
            first = task()
            assert first[0].endswith(f":{label}")
            assert task() == first
            assert TaskExecution.objects.get(key=first[0]).period == label
            monkeypatch.setattr(periods, "now", lambda later=moment + step: later)
            assert task() != first

    def test_a_body_knows_when_its_period_began(self, monkeypatch: pytest.MonkeyPatch) -> None:
        moment = dt.datetime(2025, 11, 26, 13, 5, tzinfo=BERLIN)
        monkeypatch.setattr(periods, "now", lambda: moment)
        assert hourly()[1] == "2025-11-26 13:00:00+01:00"
        assert weekly()[1] == "2025-11-24"
        assert monthly()[1] == "2025-11-01"

    def test_a_message_stays_the_run_of_the_hour_it_was_published_in(
        self, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first_two_o_clock = dt.datetime(2026, 10, 25, 2, 59, tzinfo=BERLIN, fold=0)
        monkeypatch.setattr(periods, "now", lambda: first_two_o_clock)
        hourly.delay()
        monkeypatch.setattr(periods, "now", lambda: first_two_o_clock.replace(fold=1))
        hourly.delay()
        keys = [inbox.take().run()[0] for _ in range(2)]
        assert keys[0].endswith(":2026-10-25T02+02:00")
        assert keys[1].endswith(":2026-10-25T02+01:00")

    @pytest.mark.parametrize(
        ("task", "header"),
        [
            (hourly, "2025-11-24T13"),
            (hourly, "2025-11-24T12:30Z"),
            (weekly, "2025-11-30"),
            (weekly, "2025-W48"),
            (monthly, "2025-11-30"),
            (monthly, "2025-11"),
        ],
    )
    def test_a_header_backfills_another_period(self, inbox: Inbox, task: Any, header: str) -> None:
        task.apply_async((7,), headers={"ledger_period": header})
        key = inbox.take().run()[0]
        assert key == make_idempotency_key(task.name, [7], date=header)
        assert key.rpartition(":")[2] in ("2025-11-24T13", "2025-W48", "2025-11")

    def test_a_day_does_not_say_which_of_its_hours(self, inbox: Inbox) -> None:
        hourly.apply_async((7,), headers={"ledger_period": "2025-11-24"})
        error = inbox.take().run()
        assert isinstance(error, UnusableArgument)
        assert "'2025-11-24'; write an hour as 2026-11-30T13" in str(error)
        assert not TaskExecution.objects.exists()

    def test_it_is_asked_for_and_cleared_by_its_label(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(periods, "now", lambda: dt.datetime(2025, 11, 24, 13, tzinfo=BERLIN))
        monthly(7)
        monkeypatch.undo()
        assert check_idempotency_status(monthly.name, [7], date="2025-11")["executed"]
        assert not check_idempotency_status(monthly.name, [7])["executed"]
        assert clear_idempotency_key(monthly.name, [7], date=dt.date(2025, 11, 9))
        assert not check_idempotency_status(monthly.name, [7], date="2025-11")["executed"]


def _instant(start: dt.date, zone: str) -> dt.datetime:
    if not isinstance(start, dt.datetime):
        start = dt.datetime.combine(start, dt.time(), ZoneInfo(zone))
    return start.astimezone(dt.UTC)
