from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Warning

from ..conf import setting
from ..options import Options
from .broker import visibility_timeout
from .registered import AnyTask, place_of, protected

LONGEST = {
    "hour": dt.timedelta(hours=1),
    "day": dt.timedelta(days=1, hours=1),
    "week": dt.timedelta(days=7, hours=1),
    "month": dt.timedelta(days=31, hours=1),
}
"""The longest of each: the clocks may go back within it."""


def check_times(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """Nothing is given up, delivered again or forgotten before its time."""
    visible = visibility_timeout()
    found = [
        message
        for task, options in protected()
        for message in (
            *_limits(task),
            *_forgotten(task, options),
            *(_delivered_while_running(task, visible) if visible else ()),
            *(_delivered_while_waiting(task, visible) if visible else ()),
        )
    ]
    if visible and setting("BUSY_COUNTDOWN_MAX") >= visible:
        found.append(
            _waits_too_long("LEDGER", "A delivery that was put back", visible, "BUSY_COUNTDOWN_MAX")
        )
    return found


def _limits(task: AnyTask) -> Iterator[CheckMessage]:
    hard, soft = _hard(task), _soft(task)
    if hard and soft and hard <= soft:
        yield Warning(
            f"{task.name} has a time limit of {hard} s, which is not above its soft one of {soft} "
            "s: Celery counts the first from the second, so it never comes earlier.",
            hint="Make time_limit larger than soft_time_limit, or leave one of them out.",
            obj=place_of(task),
            id="ledger.W006",
        )


def _forgotten(task: AnyTask, options: Options) -> Iterator[CheckMessage]:
    if options.period and options.ttl is not None and options.ttl < LONGEST[options.period]:
        hours = LONGEST[options.period] / dt.timedelta(hours=1)
        yield Warning(
            f"{task.name} runs once a {options.period}, and is forgotten before that is over.",
            hint=f"Give it ttl_hours={hours:g} or more.",
            obj=place_of(task),
            id="ledger.W009",
        )


def _delivered_while_running(task: AnyTask, visible: float) -> Iterator[CheckMessage]:
    limit = _hard(task) or _soft(task)
    if limit and limit >= visible:
        yield Warning(
            f"{task.name} may run for {limit} s, and Redis delivers it again after {visible:g} s "
            "while it still runs.",
            hint="Set visibility_timeout in CELERY_BROKER_TRANSPORT_OPTIONS above the longest time "
            "limit, or lower the limit.",
            obj=place_of(task),
            id="ledger.W004",
        )


def _delivered_while_waiting(task: AnyTask, visible: float) -> Iterator[CheckMessage]:
    for option, seconds in _waits(task):
        if seconds >= visible:
            yield _waits_too_long(place_of(task), task.name, visible, option)


def _waits(task: AnyTask) -> Iterator[tuple[str, float]]:
    """The longest waits that a task's own options can ask for, in seconds, by option."""
    yield "default_retry_delay", float(task.default_retry_delay or 0)
    yield "retry_kwargs", float((getattr(task, "retry_kwargs", None) or {}).get("countdown") or 0)
    if factor := float(getattr(task, "retry_backoff", False)):
        retries = 64 if task.max_retries is None else min(task.max_retries, 64)
        longest = float(getattr(task, "retry_backoff_max", 600))
        yield "retry_backoff_max", min(longest, max(1.0, factor) * 2**retries)


def _waits_too_long(place: str, what: str, visible: float, option: str) -> Warning:
    return Warning(
        f"{what} may wait longer than the {visible:g} s after which Redis delivers again what "
        f"nobody has acknowledged, because of {option}: one message becomes many.",
        hint=f"Lower {option}, or set visibility_timeout in CELERY_BROKER_TRANSPORT_OPTIONS above "
        "the longest wait.",
        obj=place,
        id="ledger.W005",
    )


def _hard(task: AnyTask) -> float | None:
    limit: float | None = task.time_limit or current_app.conf.task_time_limit
    return limit


def _soft(task: AnyTask) -> float | None:
    limit: float | None = task.soft_time_limit or current_app.conf.task_soft_time_limit
    return limit
