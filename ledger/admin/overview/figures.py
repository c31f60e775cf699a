"""The overview's figures, in SQL.

History may have ten million rows, so what ran when is read from what the sweep has rolled up; only
what it has not got to yet is counted row by row.
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
from ...models import ExecutionEvent, State
from ...sweep import RECOVERY_GRACE
from .ranges import Range

TIMEOUT = 10
"""Seconds in which the server answers, or there is too much that no sweep has counted."""

TROUBLE = [State.FAILED, State.HELD]
OUTCOMES = [State.COMPLETED, *TROUBLE, State.RUNNING]
DUPLICATES = ExecutionEvent.Kind.SKIPPED

STEPS = """
select generate_series(
    date_trunc(%(step)s, %(since)s::timestamptz at time zone %(zone)s),
    (%(until)s::timestamptz - interval '1 microsecond') at time zone %(zone)s,
    ('1 ' || %(step)s)::interval)
"""

COUNTS = """
select task_name, outcome, date_trunc(%(step)s, at at time zone %(zone)s), sum(n)::bigint
from (
    select task_name, outcome, began as at, total as n from ledger_rollup
    where minutes = 15 and began >= %(since)s and began < %(until)s
    union all
    select task_name, outcome, at, 1 from ledger_not_rolled_up(%(since)s, %(until)s)
) counted
group by 1, 2, 3
"""

# From the rollup of days as far as whole ones are within the range.
DURATIONS = """
with bins as (
    select task_name, bin, sum(n) as n
    from (
        select task_name, b.bin, b.n from ledger_rollup, unnest(bins, numbers) b (bin, n)
        where outcome = 'completed' and minutes = 15
            and (began >= %(since)s and began < %(first_day)s
                or began >= %(last_day)s and began < %(until)s)
        union all
        select task_name, b.bin, b.n from ledger_rollup, unnest(bins, numbers) b (bin, n)
        where outcome = 'completed' and minutes = 1440
            and began >= %(first_day)s and began < %(last_day)s
        union all
        select task_name, bin, 1 from ledger_not_rolled_up(%(since)s, %(until)s)
    ) counted
    where bin is not null
    group by 1, 2
), ranked as (
    select task_name, bin, sum(n) over (partition by task_name order by bin) as upto,
        sum(n) over (partition by task_name) as n
    from bins
)
select task_name,
    ledger_bin_middle(min(bin) filter (where upto >= n * 0.5)),
    ledger_bin_middle(min(bin) filter (where upto >= n * 0.95)),
    ledger_bin_middle(min(bin) filter (where upto >= n * 0.99))
from ranked
group by task_name
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
    counts: dict[str, list[int]] = field(init=False)
    """By outcome, and the duplicates answered."""
    percentiles: list[float] = field(default_factory=list)
    """Of the seconds that those took which completed: p50, p95, p99, within 2.5 %; empty where none
    did."""

    def __post_init__(self) -> None:
        self.counts = {outcome: [0] * self.steps for outcome in (*OUTCOMES, DUPLICATES)}

    @property
    def executions(self) -> list[int]:
        return [sum(step) for step in zip(*(self.counts[o] for o in OUTCOMES), strict=True)]


@dataclass(frozen=True, slots=True)
class Figures:
    steps: list[dt.datetime]
    """When each step began, as the clock on the wall showed it: naive."""
    tasks: list[Task]
    """Those with the most executions first."""

    def over_time(self, outcome: str) -> list[int]:
        by_task = [task.counts[outcome] for task in self.tasks]
        return [sum(step) for step in zip(*by_task, strict=True)] or [0] * len(self.steps)


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
        OperationalError: counting what no sweep has counted yet takes longer than TIMEOUT.
    """
    first_day, last_day = range.whole_days()
    asked: dict[str, Any] = {
        "since": range.since,
        "until": range.until,
        "first_day": first_day,
        "last_day": last_day,
        "step": range.step,
        "zone": timezone.get_current_timezone_name(),
    }
    cursor.execute(STEPS, asked)
    steps = [step for (step,) in cursor.fetchall()]
    place = {step: number for number, step in enumerate(steps)}
    tasks: dict[str, Task] = {}
    cursor.execute(COUNTS, asked)
    for name, outcome, step, number in cursor.fetchall():
        task = tasks.setdefault(name, Task(name, len(steps)))
        task.counts[outcome][place[step]] = number
    cursor.execute(DURATIONS, asked)
    for name, *percentiles in cursor.fetchall():
        tasks[name].percentiles = percentiles
    return Figures(steps, sorted(tasks.values(), key=lambda t: (-sum(t.executions), t.name)))
