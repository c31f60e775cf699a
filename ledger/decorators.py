"""The decorators. They go directly above the function, under ``shared_task`` if there is one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from . import guarantees, publishing
from .call import Call
from .exceptions import ImproperTask
from .exempt import REASON
from .options import KeyOption, UsingOption, checked
from .protection import MARK, Protected

P = ParamSpec("P")
R = TypeVar("R")


def idempotent_task(
    ttl_hours: float | None = 24,
    date_based: bool = False,
    skip_on_duplicate: bool = True,
    *,
    guarantee: str = "exactly_once",
    key: KeyOption = None,
    period: str | None = None,
    on_in_progress: str = "retry",
    on_ledger_error: str = "raise",
    max_crashes: int = 3,
    safe_to_retry: tuple[type[BaseException], ...] = (),
    redact: tuple[str, ...] = (),
    using: UsingOption = None,
    dedupe_on_publish: bool = False,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Run a function once per key, and answer its duplicates from the ledger.

    ``ttl_hours``: hours after completion in which a duplicate is recognised; None: for ever.
    ``date_based``: the key also holds the business date, so that it runs once a day.
    ``period``: once every ``"hour"``, ``"day"`` (what ``date_based`` means), ISO ``"week"`` or
    ``"month"``, by the project's clocks. The TTL must be at least as long.
    ``skip_on_duplicate``: False is strict mode; a duplicate raises ``DuplicateExecution``.
    ``guarantee``: ``"exactly_once"`` for effects that are rows in the ledger's database; for
    effects elsewhere ``"at_least_once"`` (harmless when repeated) or ``"at_most_once"`` (never
    repeated; a person decides about what is in doubt). See ``ledger.guarantees``.
    ``key``: the arguments that identify the work (a name, several names, or a callable of the
    arguments); by default all of them. The others must then be equal too, or ``PayloadMismatch``.
    Arguments that equal their defaults are left out: a parameter with a default, behind the others
    or keyword-only, may be added later without a change of keys.
    ``on_in_progress``: another run is alive. ``"retry"`` puts the message back for later (a direct
    call raises); ``"raise"`` raises ``ExecutionInProgress``; ``"wait"`` waits for it, up to
    ``LEDGER["WAIT_SECONDS"]``, then does as ``"retry"``; ``"skip"`` returns None at once.
    ``on_ledger_error``: the database cannot be reached. ``"raise"`` never runs unprotected: a
    message is put back for later, a direct call raises ``LedgerUnavailable``. ``"run"`` runs the
    body unprotected, and says so at level CRITICAL.
    ``max_crashes``: so many workers in a row may die of it, without a step done in between; then it
    is held for a person.
    ``safe_to_retry``: with ``at_most_once``, exceptions after which nothing has taken effect.
    ``redact``: names of parameters whose values are not stored.
    ``using``: database alias of the ledger and the effects, or a callable of the arguments.
    ``dedupe_on_publish``: ``delay`` and ``apply_async`` publish nothing where the execution is
    completed, and return its result; nor where a message is running it, and return that message's
    result: if it fails, it has failed for both. See ``ledger.publishing`` for what it leaves alone.

    Raises ``ImproperTask`` at import for an option that is wrong or not available.
    """
    if callable(ttl_hours):
        raise ImproperTask(
            "idempotent_task takes options: write @idempotent_task() with parentheses."
        )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not hasattr(function, "__qualname__") or not hasattr(function, "__code__"):
            raise ImproperTask(
                f"idempotent_task decorates plain functions, not {function!r}. Put it directly "
                "above 'def', below @shared_task or @app.task."
            )
        if hasattr(function, MARK):
            raise ImproperTask(
                f"{function.__module__}.{function.__qualname__}: it is already under the ledger. "
                "Leave one of the decorators."
            )
        if hasattr(function, REASON):
            raise ImproperTask(
                f"{function.__module__}.{function.__qualname__}: it is marked non_idempotent. "
                "Leave one of the decorators."
            )
        options = checked(
            function,
            ttl_hours=ttl_hours,
            date_based=date_based,
            skip_on_duplicate=skip_on_duplicate,
            guarantee=guarantee,
            key=key,
            period=period,
            on_in_progress=on_in_progress,
            on_ledger_error=on_ledger_error,
            max_crashes=max_crashes,
            safe_to_retry=safe_to_retry,
            redact=redact,
            using=using,
            dedupe_on_publish=dedupe_on_publish,
        )
        if dedupe_on_publish:
            publishing.install()
        protected = Protected(function, options)

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            result: R = guarantees.run(Call(protected, args, kwargs))
            return result

        wrapper.__signature__ = protected.signature  # type: ignore[attr-defined]
        setattr(wrapper, MARK, protected)
        return wrapper

    return decorate


def idempotent_daily_task(
    ttl_hours: float | None = 48, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Once per business date and arguments; ``idempotent_task`` with ``date_based=True``."""
    return idempotent_task(ttl_hours, True, **options)


def idempotent_once(
    ttl_hours: float | None = 24, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Once per arguments within the TTL; ``idempotent_task`` under the name that says so."""
    return idempotent_task(ttl_hours, False, **options)
