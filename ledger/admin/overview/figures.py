"""The overview's figures, in SQL.

History may have ten million rows, so nothing here reads more than the range, as a range of ids.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from ...conf import setting
from ...models import State
from ...sweep import RECOVERY_GRACE
from ..moments import DISORDER, first_id
from .ranges import Range

TIMEOUT = 10
"""Seconds in which the server answers, or the range holds too much."""

TROUBLE = [State.FAILED, State.HELD]
OUTCOMES = [State.COMPLETED, *TROUBLE, State.RUNNING]

STEPS = """
select generate_series(
    date_trunc(%(step)s, %(since)s::timestamptz at time zone %(zone)s),
    (%(until)s::timestamptz - interval '1 microsecond') at time zone %(zone)s,
    ('1 ' || %(step)s)::interval)
"""

RUNS = """
select task_name, date_trunc(%(step)s, claimed_at at time zone %(zone)s), state, count(*)
from ledger_taskexecution
where id >= %(first)s and id < %(last)s and claimed_at >= %(since)s and claimed_at < %(until)s
group by 1, 2, 3
"""

# From the beginning of the attempt that completed. What a person released has none.
DURATIONS = """
select task_name, percentile_disc(array[0.5, 0.95, 0.99]) within group (
    order by completed_at - started_at)
from ledger_taskexecution
where id >= %(first)s and id < %(last)s and claimed_at >= %(since)s and claimed_at < %(until)s
    and completed_at is not null
    and id not in (select execution_id from ledger_executionevent
                   where kind = 'released' and id >= %(first_event)s)
group by 1
"""

DUPLICATES = """
select e.task_name, d.step, sum(d.duplicates)::bigint
from (
    select execution_id, date_trunc(%(step)s, at at time zone %(zone)s) as step,
        count(*) as duplicates
    from ledger_executionevent
    where id >= %(first)s and id < %(last)s and at >= %(since)s and at < %(until)s
        and kind = 'skipped'
    group by 1, 2
) d join ledger_taskexecution e on e.id = d.execution_id
group by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Now:
    """What is open at this moment. Lags and ages in seconds, as for ``ledger.figures``."""

    at: dt.datetime
    """The database's clock."""
    held: int
    stuck: int
    """Running without a worker."""
    running: int
    oldest_running: float
    unpublished: int
    outbox_lag: float
    sweep_lag: float


@dataclass(slots=True)
class Task:
    """A task within the range. Lists have one figure for each step."""

    name: str
    steps: int
    outcomes: dict[str, list[int]] = field(init=False)
    duplicates: list[int] = field(init=False)
    percentiles: list[dt.timedelta] = field(default_factory=list)
    """Of the durations of those that completed: p50, p95, p99; empty where none did."""

    def __post_init__(self) -> None:
        self.outcomes = {outcome: [0] * self.steps for outcome in OUTCOMES}
        self.duplicates = [0] * self.steps

    @property
    def executions(self) -> list[int]:
        return [sum(step) for step in zip(*self.outcomes.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class Figures:
    steps: list[dt.datetime]
    """When each step began, as the clock on the wall showed it: naive."""
    tasks: list[Task]
    """Those with the most executions first."""

    def over_time(self, outcome: str) -> list[int]:
        return self._sum([task.outcomes[outcome] for task in self.tasks])

    def duplicates(self) -> list[int]:
        return self._sum([task.duplicates for task in self.tasks])

    def _sum(self, lists: list[list[int]]) -> list[int]:
        return [sum(step) for step in zip(*lists, strict=True)] or [0] * len(self.steps)


@contextmanager
def bounded(connection: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    """A transaction in which no statement takes longer than TIMEOUT, nor longer to compile than to
    run."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"set local statement_timeout = '{TIMEOUT}s'")
        cursor.execute("set local jit = off")
        yield cursor


def now(cursor: CursorWrapper) -> Now:
    cursor.execute(
        "select ledger_now(), coalesce(sum(held), 0)::bigint, coalesce(sum(stuck), 0)::bigint,"
        " coalesce(sum(running), 0)::bigint, coalesce(max(oldest_running), 0)"
        " from ledger_open_figures(make_interval(secs => %s))",
        [RECOVERY_GRACE.total_seconds()],
    )
    [open] = cursor.fetchall()
    cursor.execute(
        "select unpublished, outbox_lag, sweep_lag from ledger_backlog(make_interval(days => %s))",
        [setting("RETENTION_DAYS")],
    )
    [backlog] = cursor.fetchall()
    return Now(*open, *backlog)


def figures(cursor: CursorWrapper, range: Range) -> Figures:
    """What was claimed in the range, by task, and the duplicates answered in it.

    Raises:
        OperationalError: the range holds too much to be counted within TIMEOUT.
    """
    asked: dict[str, Any] = {
        "since": range.since,
        "until": range.until,
        "step": range.step,
        "zone": timezone.get_current_timezone_name(),
    }
    # The ids are the range already; a bitmap with the coarse indexes on times reads four times it.
    cursor.execute("set local enable_bitmapscan = off")
    cursor.execute(STEPS, asked)
    steps = [step for (step,) in cursor.fetchall()]
    place = {step: number for number, step in enumerate(steps)}
    tasks: dict[str, Task] = {}

    def task(name: str) -> Task:
        return tasks.setdefault(name, Task(name, len(steps)))

    asked |= _ids(cursor, "ledger_executionevent", "at", range)
    cursor.execute(DUPLICATES, asked)
    for name, step, number in cursor.fetchall():
        task(name).duplicates[place[step]] = number

    asked |= {"first_event": asked["first"]}
    asked |= _ids(cursor, "ledger_taskexecution", "claimed_at", range)
    cursor.execute(RUNS, asked)
    for name, step, state, number in cursor.fetchall():
        task(name).outcomes[state][place[step]] = number
    cursor.execute(DURATIONS, asked)
    for name, percentiles in cursor.fetchall():
        task(name).percentiles = percentiles
    return Figures(steps, sorted(tasks.values(), key=lambda t: (-sum(t.executions), t.name)))


def _ids(cursor: CursorWrapper, table: str, time: str, range: Range) -> dict[str, int]:
    """The ids between which all rows of the range are; a few of its neighbours' as well."""
    return {
        "first": first_id(cursor, table, time, range.since - DISORDER),
        "last": first_id(cursor, table, time, range.until + DISORDER),
    }
