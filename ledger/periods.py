"""The period of a key: the hour, day, ISO week or month it is for, pinned when it is published.

A message carries the hour it was published in, from which every longer period follows. So a retry
after midnight, a redelivery or the next link of a chain stays the run of the period it was
published for. An explicit header backfills another: ``headers={"ledger_period": "2026-11-01"}``, or
``"2026-11-01T13"`` for an hourly task. Direct and eager calls carry no headers: they mean now.

Hours are those of the project's clocks (``settings.TIME_ZONE``). One that the clocks show twice, in
autumn, is two periods, told apart by the offset: ``2026-10-25T02+02:00``, ``2026-10-25T02+01:00``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from django.utils import timezone

from .exceptions import UnusableArgument

PERIOD_HEADER = "ledger_period"

MAX_LABEL = 25


class Period(NamedTuple):
    label: str
    """As the key ends: ``2026-11-30T13``, ``2026-11-30``, ``2026-W49`` or ``2026-11``."""
    start: dt.date
    """Its first day, or for an hour its beginning: an aware datetime in the project's zone."""


def now() -> dt.datetime:
    """The time in the project's time zone."""
    return dt.datetime.now(timezone.get_default_timezone())


def today() -> dt.date:
    """Today in the project's time zone."""
    return now().date()


def stamp() -> str:
    """What is pinned: this hour, as ``2026-11-30T13+01:00``."""
    return now().isoformat(timespec="hours")


def pin(headers: dict[str, Any], body: Any = None, **signal: Any) -> None:
    """Receiver of Celery's ``before_task_publish``. What a worker publishes when this task is done,
    the links of its chain and its callbacks, is part of the same run and gets the same period."""
    period = headers.setdefault(PERIOD_HEADER, stamp())
    if not isinstance(body, tuple):
        return  # of Celery's first message protocol, which has no place for links
    embedded: dict[str, Any] = body[2]
    for name in ("chain", "callbacks", "errbacks"):
        if embedded.get(name):
            embedded[name] = [_pinned_link(link, period) for link in embedded[name]]
    if embedded.get("chord"):
        embedded["chord"] = _pinned_link(embedded["chord"], period)


def _pinned_link(link: dict[str, Any], period: str) -> dict[str, Any]:
    """A copy: the signature is its publisher's, who may publish it again tomorrow."""
    options = link.get("options") or {}
    headers = {PERIOD_HEADER: period, **(options.get("headers") or {})}
    return {**link, "options": {**options, "headers": headers}}


def pinned(headers: dict[str, Any] | None, kind: str) -> Period | None:
    """The period a message was published for. ``UnusableArgument`` where it does not say."""
    value = (headers or {}).get(PERIOD_HEADER)
    return None if value is None else parse(value, f"message header {PERIOD_HEADER!r}", kind)


def current(kind: str) -> Period:
    return _OF[kind](now())


def parse(value: object, where: str, kind: str | None) -> Period:
    """The period that a date, a moment or a label names. A longer one does not name a shorter one
    within it. ``kind`` None: the shape of a date or label says which; a moment's does not.
    """
    shape, moment = _read(value)
    if kind is None and not isinstance(value, dt.datetime):
        kind = shape
    if moment is None or kind is None or kind not in _NAMED_BY[shape]:
        raise UnusableArgument(f"{where} is {value!r}; write {_EXAMPLES[kind or 'day']}.")
    if kind == "hour" and moment.utcoffset() is None:
        moment = _shown_once(moment, where)
    return _OF[kind](moment)


def _read(value: object) -> tuple[str, dt.datetime | None]:
    """The kind of period that a value names, and a moment within it; None where it names none."""
    try:
        if isinstance(value, dt.datetime):
            return "hour", _by_the_projects_clocks(value)
        if isinstance(value, dt.date):
            return "day", dt.datetime.combine(value, dt.time())
        if isinstance(value, str):
            if _WEEK.fullmatch(value):
                return "week", dt.datetime.fromisoformat(f"{value}-1")
            if _MONTH.fullmatch(value):
                return "month", dt.datetime.fromisoformat(f"{value}-01")
            if len(value) > len("2026-11-30"):
                return "hour", _by_the_projects_clocks(dt.datetime.fromisoformat(value))
            return "day", dt.datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        pass
    return "day", None


_WEEK = re.compile(r"\d{4}-W\d\d")
_MONTH = re.compile(r"\d{4}-\d\d")


def _by_the_projects_clocks(moment: dt.datetime) -> dt.datetime:
    if moment.utcoffset() is None:
        return moment
    return moment.astimezone(timezone.get_default_timezone())


def _shown_once(moment: dt.datetime, where: str) -> dt.datetime:
    """A moment of the project's clocks, unless they show it twice, or never."""
    zone = timezone.get_default_timezone()
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    hours = " or ".join(time.isoformat(timespec="hours") for time in (first, second))
    often = "twice" if _comes_twice(first) else "never"
    raise UnusableArgument(
        f"{where} is {moment.isoformat()!r}, which the clocks of {zone} show {often}. Write the "
        f"offset as well: {hours}."
    )


def _hour(moment: dt.datetime) -> Period:
    start = moment.replace(minute=0, second=0, microsecond=0)
    label = start if _comes_twice(start) else start.replace(tzinfo=None)
    return Period(label.isoformat(timespec="hours"), start)


def _comes_twice(moment: dt.datetime) -> bool:
    """Whether the clocks were set back over it, and not forward."""
    first, second = (moment.replace(fold=fold).astimezone(dt.UTC) for fold in (0, 1))
    return first < second


def _day(moment: dt.datetime) -> Period:
    return Period(moment.date().isoformat(), moment.date())


def _week(moment: dt.datetime) -> Period:
    year, week, weekday = moment.isocalendar()
    return Period(f"{year:04}-W{week:02}", moment.date() - dt.timedelta(days=weekday - 1))


def _month(moment: dt.datetime) -> Period:
    first = moment.date().replace(day=1)
    return Period(first.isoformat()[:7], first)


_OF: dict[str, Callable[[dt.datetime], Period]] = {
    "hour": _hour,
    "day": _day,
    "week": _week,
    "month": _month,
}
PERIODS = tuple(_OF)

_NAMED_BY = {
    "hour": ("hour", "day", "week", "month"),
    "day": ("day", "week", "month"),
    "week": ("week",),
    "month": ("month",),
}
_EXAMPLES = {
    "hour": "an hour as 2026-11-30T13",
    "day": "a date as 2026-11-30",
    "week": "a week as 2026-W49, or a date in it as 2026-11-30",
    "month": "a month as 2026-11, or a date in it as 2026-11-30",
}
