"""Rolled up or not, the overview tells what the rows tell."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.utils import timezone

from ledger.admin.overview import figures
from ledger.admin.overview.ranges import Range
from ledger.models import ExecutionEvent, Rollup, State, TallyMark, TaskExecution
from tests.ledger.admin.test_overview import found, row, tally_on

pytestmark = pytest.mark.django_db

SINCE = dt.datetime(2026, 3, 27, tzinfo=dt.UTC)  # the clocks change in Berlin
DAYS = 5
QUARTER = dt.timedelta(minutes=15)
TASKS = ("pay", "notify", "rare")


def make_history(chance: random.Random) -> None:
    """Executions whose ids are nearly in the order of their claims; some are open, some retired."""
    rows = []
    for number in range(600):
        claimed_at = SINCE + dt.timedelta(days=DAYS) * (number / 600)
        claimed_at += dt.timedelta(seconds=chance.uniform(-40, 40))
        state = chance.choices(State.values, weights=[1, 20, 2, 1])[0]
        took = dt.timedelta(seconds=chance.lognormvariate(0, 2))
        made = row(
            claimed_at,
            state,
            id=number * 3 + 1,
            task_name=chance.choices(TASKS, weights=[50, 30, 1])[0],
            retired_at=claimed_at + took if chance.random() < 0.5 else None,
        )
        if made.completed_at:
            made.completed_at = claimed_at + took
        rows.append(made)
    TaskExecution.objects.bulk_create(rows)
    ExecutionEvent.objects.bulk_create(
        ExecutionEvent(
            id=made.pk, execution=made, kind="skipped", at=made.claimed_at + took, attempt=1
        )
        for made in rows
        if made.state == State.COMPLETED
        for took in [chance.random() * DAYS * dt.timedelta(days=1)]
        if chance.random() < 0.5
    )


def complete_some(chance: random.Random) -> None:
    """As a delivery, or a person, does with what was open when the mark passed it."""
    done = "state = 'completed', completed_at = started_at + interval '3 seconds'"
    for open in TaskExecution.objects.filter(completed_at=None, retired_at=None):
        if chance.random() < 0.5:
            what = "retired_at = now()" if open.state == State.FAILED else done
            with connection.cursor() as cursor:
                cursor.execute(f"update ledger_taskexecution set {what} where id = %s", [open.pk])


def expected(range: Range) -> Counter[tuple[str, str, dt.datetime]]:
    """By task, outcome and step, from the rows."""
    zone = timezone.get_current_timezone()

    def step(moment: dt.datetime) -> dt.datetime:
        local = moment.astimezone(zone).replace(tzinfo=None, minute=0, second=0, microsecond=0)
        return local if range.step == "hour" else local.replace(hour=0)

    counts: Counter[tuple[str, str, dt.datetime]] = Counter()
    for run in TaskExecution.objects.filter(
        claimed_at__gte=range.since, claimed_at__lt=range.until
    ):
        counts[run.task_name, run.state, step(run.claimed_at)] += 1
    for event in ExecutionEvent.objects.filter(
        kind="skipped", at__gte=range.since, at__lt=range.until
    ).select_related("execution"):
        counts[event.execution.task_name, "skipped", step(event.at)] += 1
    return counts


def told(range: Range) -> Counter[tuple[str, str, dt.datetime]]:
    figures = found(range.since, range.until)
    return Counter(
        {
            (task.name, outcome, step): number
            for task in figures.tasks
            for outcome, numbers in task.counts.items()
            for step, number in zip(figures.steps, numbers, strict=True)
            if number
        }
    )


def check(range: Range) -> None:
    assert told(range) == expected(range)
    for task in found(range.since, range.until).tasks:
        took = sorted(
            (run.completed_at - run.started_at).total_seconds()
            for run in TaskExecution.objects.filter(
                task_name=task.name,
                claimed_at__gte=range.since,
                claimed_at__lt=range.until,
            ).exclude(completed_at=None)
            if run.completed_at
        )
        exact = [took[math.ceil(len(took) * share) - 1] for share in (0.5, 0.95, 0.99) if took]
        assert task.percentiles == pytest.approx(exact, rel=0.0251)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "UTC"])
def test_any_range_tells_the_same_wherever_the_mark_is(zone: str) -> None:
    chance = random.Random(zone)
    make_history(chance)
    borders = [
        SINCE - QUARTER,
        SINCE,
        SINCE + dt.timedelta(days=DAYS),
        *(SINCE + chance.randrange(DAYS * 96) * QUARTER for _ in range(6)),
    ]
    with timezone.override(ZoneInfo(zone)):
        ranges = [
            Range(timezone.localtime(since), timezone.localtime(until))
            for since in borders
            for until in borders
            if since < until
        ]
        for _ in range(4):
            for each in chance.sample(ranges, 12):
                check(each)
            complete_some(chance)
            tally_on(chance.choice([150, 700, 1100]))
        tally_on(10_000)
        for each in ranges:
            check(each)


def test_what_is_finished_is_read_from_the_rollup_alone() -> None:
    make_history(random.Random(3))
    tally_on(10_000)
    range = Range(SINCE - QUARTER, SINCE + dt.timedelta(days=DAYS))
    whole = expected(range)
    unfinished = TallyMark.objects.get().unfinished
    assert set(unfinished) == set(
        TaskExecution.objects.filter(completed_at=None, retired_at=None).values_list(
            "id", flat=True
        )
    )
    with connection.cursor() as cursor:
        cursor.execute("set local ledger.purging = 'on'")
        cursor.execute("delete from ledger_executionevent")
        cursor.execute("delete from ledger_taskexecution where id <> all(%s)", [unfinished])
    assert told(range) == whole


def test_a_quarter_counted_twice_over_is_one_row_for_each_outcome() -> None:
    make_history(random.Random(3))
    for _ in range(20):
        tally_on(100)
    places = Rollup.objects.values_list("minutes", "began", "task_name", "outcome")
    assert len(places) == len(set(places))
    assert {minutes for minutes, *_ in places} == {15, 24 * 60}
    for rollup in Rollup.objects.all():
        assert rollup.total == sum(rollup.numbers)


@pytest.mark.parametrize("seconds", [0, 1e-6, 1e-4, 0.02, 1, 59, 86_400, 4e8])
def test_a_duration_is_within_its_bin(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select ledger_bin_middle(ledger_bin(make_interval(secs => %s)))", [seconds])
        [middle] = cursor.fetchone()
    assert middle == pytest.approx(max(seconds, 1e-4), rel=0.0251)


def test_the_longest_that_a_page_may_take_is_bounded() -> None:
    with figures.bounded(connection) as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone() == (f"{figures.TIMEOUT}s",)
