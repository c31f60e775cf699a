"""The decorator's options, checked when the module is imported. Nothing accepted is ignored."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .exceptions import ImproperTask
from .periods import PERIODS

GUARANTEES = ("exactly_once", "at_least_once", "at_most_once")
ON_IN_PROGRESS = ("retry", "skip", "wait", "raise")
ON_LEDGER_ERROR = ("raise", "run")

MOST_TTL_HOURS = 24 * 366 * 1000
MOST_CRASHES = 1_000_000

KeyOption = Callable[..., Any] | str | tuple[str, ...] | list[str] | None
UsingOption = str | Callable[..., str] | None


@dataclass(frozen=True, slots=True)
class Options:
    """One decorated function's options; see ``idempotent_task`` for what each means."""

    ttl: dt.timedelta | None
    period: str | None
    skip_on_duplicate: bool
    guarantee: str
    key: Callable[..., Any] | tuple[str, ...] | None
    on_in_progress: str
    on_ledger_error: str
    max_crashes: int
    safe_to_retry: tuple[type[BaseException], ...]
    redact: frozenset[str]
    using: UsingOption
    dedupe_on_publish: bool


def checked(
    function: Callable[..., Any],
    *,
    ttl_hours: float | None,
    date_based: bool,
    skip_on_duplicate: bool,
    guarantee: str,
    key: KeyOption,
    period: str | None,
    on_in_progress: str,
    on_ledger_error: str,
    max_crashes: int,
    safe_to_retry: tuple[type[BaseException], ...],
    redact: tuple[str, ...],
    using: UsingOption,
    dedupe_on_publish: bool,
) -> Options:
    """Options for one function. ``ImproperTask`` names the function, the option and the remedy."""
    name = f"{function.__module__}.{function.__qualname__}"
    parameters = inspect.signature(function).parameters

    def refuse(problem: str, remedy: str) -> ImproperTask:
        return ImproperTask(f"{name}: {problem}. {remedy}")

    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise refuse("an async def body is not supported", "Write a plain def; Celery runs those.")
    if inspect.isgeneratorfunction(function):
        raise refuse("a generator has no result to store", "Return a value instead of yielding.")
    if ttl_hours is not None and not (
        _positive(ttl_hours, (int, float)) and ttl_hours <= MOST_TTL_HOURS
    ):
        raise refuse(
            f"ttl_hours={ttl_hours!r}",
            f"Give hours above 0, up to {MOST_TTL_HOURS:,}, or None for never expiring.",
        )
    for option, flag in (
        ("date_based", date_based),
        ("skip_on_duplicate", skip_on_duplicate),
        ("dedupe_on_publish", dedupe_on_publish),
    ):
        if not isinstance(flag, bool):
            raise refuse(f"{option}={flag!r}", "Give True or False.")
    if dedupe_on_publish and not skip_on_duplicate:
        raise refuse(
            "dedupe_on_publish=True answers duplicates that skip_on_duplicate=False refuses",
            "Leave one of the two.",
        )
    if period is not None and period not in PERIODS:
        raise refuse(f"period={period!r} is not available", f"Available: {', '.join(PERIODS)}.")
    if date_based and period not in (None, "day"):
        raise refuse(f"date_based=True means period='day', not {period!r}", "Leave one of the two.")
    for option, value, allowed in (
        ("guarantee", guarantee, GUARANTEES),
        ("on_in_progress", on_in_progress, ON_IN_PROGRESS),
        ("on_ledger_error", on_ledger_error, ON_LEDGER_ERROR),
    ):
        if value not in allowed:
            raise refuse(
                f"{option}={value!r} is not available", f"Available: {', '.join(allowed)}."
            )
    if guarantee == "at_most_once" and on_ledger_error == "run":
        raise refuse(
            "on_ledger_error='run' runs without a claim, and guarantee='at_most_once' may not",
            "Leave it at 'raise', or choose guarantee='at_least_once'.",
        )
    if not (_positive(max_crashes, int) and max_crashes <= MOST_CRASHES):
        raise refuse(
            f"max_crashes={max_crashes!r}", f"Give a whole number from 1 to {MOST_CRASHES:,}."
        )
    if safe_to_retry and guarantee != "at_most_once":
        raise refuse(
            f"safe_to_retry belongs to guarantee='at_most_once', not to {guarantee!r}",
            "Leave it out: any failure may run again there.",
        )
    if not isinstance(safe_to_retry, tuple) or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in safe_to_retry
    ):
        raise refuse(f"safe_to_retry={safe_to_retry!r}", "Give a tuple of exception classes.")
    if using is not None and not (isinstance(using, str) and using) and not callable(using):
        raise refuse(f"using={using!r}", "Give a database alias or a callable that returns one.")
    if isinstance(key, str):
        key = (key,)
    return Options(
        ttl=None if ttl_hours is None else dt.timedelta(hours=ttl_hours),
        period="day" if date_based else period,
        skip_on_duplicate=skip_on_duplicate,
        guarantee=guarantee,
        key=key if key is None or callable(key) else _names("key", key, parameters, refuse),
        on_in_progress=on_in_progress,
        on_ledger_error=on_ledger_error,
        max_crashes=0 if guarantee == "at_most_once" else max_crashes,
        safe_to_retry=safe_to_retry,
        redact=frozenset(_names("redact", redact, parameters, refuse)) if redact else frozenset(),
        using=using,
        dedupe_on_publish=dedupe_on_publish,
    )


def _positive(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value > 0  # type: ignore[operator]


def _names(
    option: str,
    names: str | tuple[str, ...] | list[str],
    parameters: Any,
    refuse: Callable[[str, str], ImproperTask],
) -> tuple[str, ...]:
    """Parameter names that exist. A lone string is taken for one name."""
    named = (names,) if isinstance(names, str) else names
    known = [name for name in parameters if name != "self"]
    if not isinstance(named, (tuple, list)) or not named or any(n not in known for n in named):
        raise refuse(
            f"{option}={names!r} does not name its parameters", f"It has: {', '.join(known)}."
        )
    return tuple(named)
