from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from ..reporting.formats import FORMATS
from ..reporting.reports import REPORTS, is_known, rows

help = "print what happened: by day, by task, duplicates, what is open, every execution"
DAYS = 30
DAY = dt.timedelta(days=1)


def add_arguments(parser: ArgumentParser) -> None:
    listed = "; ".join(f"{name}: {report.help}" for name, report in REPORTS.items())
    parser.add_argument("report", choices=REPORTS, help=listed)
    parser.add_argument(
        "--since", help=f"a day, 2026-11-01, or a time, 2026-11-01T06:00; else {DAYS} days ago"
    )
    parser.add_argument("--until", help="a day, which counts, or a time, which does not; else now")
    parser.add_argument("--task", help="this task only, by its whole name")
    parser.add_argument("--format", choices=FORMATS, default="table", help="else a table")


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    report = REPORTS[options["report"]]
    if not report.has_range and (options["since"] or options["until"]):
        raise CommandError("What is open is open now: leave out --since and --until.")
    task = options["task"]
    if task and report.has_range and not is_known(database, task):
        raise CommandError(
            f"No execution here is of {task!r}: give the task's whole name, as `manage.py ledger "
            "tasks` lists it."
        )
    command.stdout.ending = ""
    since, until = _range(options["since"], options["until"])
    with rows(database, report, since, until, task) as (names, found):
        FORMATS[options["format"]](names, found, command.stdout)


def _range(since: str | None, until: str | None) -> tuple[dt.datetime, dt.datetime]:
    today = timezone.localdate()
    first = _moment("--since", since) if since else _midnight(today - DAYS * DAY)
    last = _moment("--until", until, DAY) if until else _midnight(today + DAY)
    if first >= last:
        raise CommandError(
            f"--since ({first:%Y-%m-%d %H:%M}) is not before --until ({last:%Y-%m-%d %H:%M})."
        )
    return first, last


def _moment(option: str, text: str, and_then: dt.timedelta = dt.timedelta()) -> dt.datetime:
    """The time meant; of a day its first moment, or that of the day ``and_then`` later."""
    try:
        if day := parse_date(text):
            return _midnight(day + and_then)
        if moment := parse_datetime(text):
            return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    except (ValueError, OverflowError):
        pass
    raise CommandError(
        f"{option} {text!r} is no time: write a day, 2026-11-30, or a time, 2026-11-30T18:00."
    )


def _midnight(day: dt.date) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))
