"""Asking for an execution by its task's name and arguments, and clearing it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

from . import periods, readable, store
from .exceptions import ExecutionInProgress
from .execution import is_running_here
from .protection import key_of


def make_idempotency_key(
    task_name: str,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    date_based: bool = False,
    date: dt.date | str | None = None,
) -> str:
    """The key a worker gives this call: ``idempotent:{task_name}:{sha256}``, with ``:{date}`` for a
    date-based one (``date``: a date or ISO text; today by default).

    For a registered or imported task its signature and options apply: defaults are filled in, and
    keyword arguments stand by position. ``UnusableArgument`` names what has no stable value.
    """
    return _key_of(task_name, args, kwargs, date_based, date)[0]


def check_idempotency_status(
    task_name: str,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    date_based: bool = False,
    date: dt.date | str | None = None,
) -> dict[str, Any]:
    """What the ledger knows of this call.

    ``executed``: it is completed and not expired, so that a duplicate would be answered. ``state``:
    ``running``, ``completed``, ``failed``, ``held``, ``expired``, or None where there is none.
    ``completed_at``, ``expires_at``, ``claimed_at``: aware datetimes or None. ``attempt``: int or
    None. ``result``: as a replay returns it. ``error``: text. ``key``: the key asked for.
    """
    from .status import status_of

    key, database = _key_of(task_name, args, kwargs, date_based, date)
    return status_of(key, database)


def clear_idempotency_key(
    task_name: str,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    date_based: bool = False,
    date: dt.date | str | None = None,
    *,
    reason: str = "",
    actor: str = "",
) -> bool:
    """Retire the live execution, so that the next call runs again. True where there was one.

    Nothing is deleted: it becomes history, with ``reason`` and ``actor`` (free text) as an event.
    ``ExecutionInProgress`` while its body runs.
    """
    key, database = _key_of(task_name, args, kwargs, date_based, date)
    return clear(key, database, reason=reason, actor=actor)


def clear(key: str, database: str, *, reason: str, actor: str) -> bool:
    """As ``clear_idempotency_key``, by the key itself."""
    who, why = readable.text(actor, 255), readable.text(reason)
    inside = is_running_here(key, database)  # whose lock would not keep its own session out
    outcome = "running" if inside else store.retire(connections[database], key, who, why)
    if outcome == "running":
        raise ExecutionInProgress(
            f"{key} is being executed and cannot be cleared until it is done."
        )
    return outcome == "retired"


def _key_of(
    task_name: str,
    args: Sequence[object] | None,
    kwargs: Mapping[str, object] | None,
    date_based: bool,
    date: dt.date | str | None,
) -> tuple[str, str]:
    period = periods.today() if date is None else periods.parse(date, "date")
    return key_of(task_name, args, kwargs, date_based, period)
