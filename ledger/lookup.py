"""Asking for an execution by its task's name and arguments, and clearing it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from . import readable, results, store
from .exceptions import ExecutionInProgress, LedgerError
from .execution import is_running_here
from .keys import task_of
from .protection import find, key_of


def make_idempotency_key(
    task_name: str,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    date_based: bool = False,
    date: dt.date | str | None = None,
) -> str:
    """The key a worker gives this call: ``idempotent:{task_name}:{sha256}``, with ``:{period}`` for
    a date-based one (``date``: a date or moment in it, as such or as ISO 8601 text, or its label
    such as ``2026-W49``; now by default).

    A task's signature and options apply, whatever this process has imported: defaults are left
    out, and keyword arguments stand by position. A name of no task is warned of; its key is made of
    the arguments as they stand, and the shape of ``date`` says what it is for.
    ``UnusableArgument`` names what has no stable value. ``LedgerError`` where the modules of tasks
    cannot be imported.
    """
    return key_of(task_name, args, kwargs, date_based, date)[0]


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

    key, database = key_of(task_name, args, kwargs, date_based, date)
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
    key, database = key_of(task_name, args, kwargs, date_based, date)
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


def release(
    key: str,
    outcome: str,
    *,
    result: object = None,
    reason: str,
    actor: str = "",
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Decide about a held execution. Recorded as an event, with ``reason`` and ``actor``.

    ``outcome``: ``"completed"``, it took effect: duplicates are answered with ``result``, for the
    task's TTL. ``"failed"``, it did not: the next delivery runs the next attempt, behind its steps.
    ``"retired"``: the next delivery runs it as a new execution.
    ``LedgerError`` where the key is not held or the outcome is none of these.
    """
    if outcome not in ("completed", "failed", "retired"):
        raise LedgerError(
            f"outcome={outcome!r}: an execution is released as 'completed', 'failed' or 'retired'."
        )
    if result is not None and outcome != "completed":
        raise LedgerError(f"result= belongs to outcome='completed', not to {outcome!r}.")
    if not reason.strip():
        raise LedgerError("reason= is required: it is what an auditor reads.")
    known = find(task_of(key))
    ttl = known[0].options.ttl if known else None
    text = results.dump(key, result) if outcome == "completed" else None
    actor, reason = readable.text(actor, 255), readable.text(reason)
    found = store.release(connections[using], key, outcome, text, ttl, actor, reason)
    if found == "running":
        raise ExecutionInProgress(f"{key} is being executed or decided about at this moment.")
    if found != "released":
        raise LedgerError(
            f"{key} cannot be released: {'it is' if found == 'not held' else 'there is'} {found}. "
            "Only held executions are released; to run a completed one again, clear it."
        )
