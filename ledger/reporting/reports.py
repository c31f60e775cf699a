"""What ``manage.py ledger report`` prints: rows of the views, by time and task."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.utils import timezone


class Report(NamedTuple):
    """``sql`` has the parameters ``since`` and ``until`` (times), ``first`` and ``last`` (days of
    the project's time zone), and ``task`` (null: all)."""

    help: str
    sql: str
    has_range: bool = True
    has_days: bool = False
    """Days are told in the project's time zone, and there are no times, which Django would take to
    be in the connection's."""


REPORTS = {
    "daily": Report(
        "a line for each day and task",
        """
        select * from ledger_daily_summary
        where day >= %(first)s and day <= %(last)s
            and task_name = coalesce(%(task)s, task_name)
        order by day, task_name
        """,
        has_days=True,
    ),
    "tasks": Report(
        "each task: how often, how well, how fast",
        """
        select * from ledger_task_health_between(%(since)s, %(until)s)
        where task_name = coalesce(%(task)s, task_name)
        order by task_name
        """,
    ),
    "duplicates": Report(
        "every duplicate that was answered",
        """
        select at, task_name, period, execution_id, same_message, seconds_after, worker, task_id,
            key
        from ledger_duplicates
        where at >= %(since)s and at < %(until)s and task_name = coalesce(%(task)s, task_name)
        order by at, event_id
        """,
    ),
    "open": Report(
        "what runs, is stuck, held, or not published yet",
        """
        select item, task_name, since, seconds, tries, execution_id, detail, worker, key
        from ledger_open_items where task_name = coalesce(%(task)s, task_name)
        order by since, execution_id
        """,
        has_range=False,
    ),
    "history": Report(
        "every execution",
        """
        select execution_id, task_name, period, state, attempts, claimed_at, completed_at, seconds,
            duplicates, error_type, retired_at, retired_reason, worker, key
        from ledger_run_history
        where claimed_at >= %(since)s and claimed_at < %(until)s
            and task_name = coalesce(%(task)s, task_name)
        order by execution_id
        """,
    ),
}


def is_known(database: str, task: str) -> bool:
    """Whether it has an execution: a name may be mistyped."""
    with connections[database].cursor() as cursor:
        cursor.execute(
            "select exists (select from ledger_run_history where task_name = %s)", [task]
        )
        return bool(cursor.fetchone()[0])


@contextmanager
def rows(
    database: str, report: Report, since: dt.datetime, until: dt.datetime, task: str | None
) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """The columns' names, and the rows as the server sends them; days are the project's.
    ``until`` is the first moment that does not count."""
    zone = timezone.get_default_timezone_name()
    parameters = {
        "since": since,
        "until": until,
        "first": timezone.localtime(since).date(),
        "last": timezone.localtime(until - dt.timedelta(microseconds=1)).date(),
        "task": task,
    }
    connection = connections[database]
    with transaction.atomic(using=database):
        if report.has_days:
            with connection.cursor() as cursor:
                cursor.execute("select set_config('TimeZone', %s, true)", [zone])
        with connection.chunked_cursor() as cursor:
            cursor.execute(report.sql, parameters)
            yield [column.name for column in cursor.description], iter(cursor)
