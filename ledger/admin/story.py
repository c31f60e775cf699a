"""What happened to one execution, in the order of time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import QuerySet

from ..models import ExecutionEvent, OutboxMessage, State, TaskExecution
from .permissions import HIDDEN

Kind = ExecutionEvent.Kind

FEW_DUPLICATES = 3
"""So many duplicates are told one by one, more of them in one entry."""

SHOWN_DUPLICATES = 50
MOST_DUPLICATES = 10_000
MOST_EVENTS = 500

OTHER_KINDS = [kind for kind in Kind.values if kind != Kind.SKIPPED]

TELLING_VALUES = (Kind.FAILED, Kind.LOST_CLAIM)
"""Kinds whose reason is an error, or a result."""


@dataclass(frozen=True)
class Entry:
    """Something that happened. ``who``: the worker or the person."""

    at: dt.datetime
    kind: str
    title: str
    attempt: int | None = None
    who: str = ""
    task_id: str = ""
    text: str = ""
    traceback: str = ""
    until: dt.datetime | None = None
    further: list[Entry] = field(default_factory=list)
    """What this entry stands for, up to ``until``, newest first, where it is many."""


def tell(execution: TaskExecution, origin: OutboxMessage | None, *, values: bool) -> list[Entry]:
    """The timeline. ``origin``: the follow-up that published it, where it was one. ``values``:
    whether errors and results are told. Three queries at most."""
    events = list(execution.events.filter(kind__in=OTHER_KINDS).order_by("-id")[:MOST_EVENTS])
    told = [_event(event, values=values) for event in events]
    told += _duplicates(execution)
    told += _from_the_row(execution, origin, events)
    return sorted(told, key=lambda entry: entry.at)


def _from_the_row(
    execution: TaskExecution, origin: OutboxMessage | None, events: Iterable[ExecutionEvent]
) -> list[Entry]:
    """What no event says, because the row itself does."""
    known = {(event.kind, event.attempt) for event in events}
    attempt = execution.attempt
    first = execution.worker if attempt == 1 else ""
    told = [Entry(execution.claimed_at, "claimed", "claimed", 1, first)]
    if origin is not None:
        title = f"published by {origin.execution.task_name}"
        told.append(Entry(origin.published_at or origin.created_at, "published", title))
    if attempt > 1 and (Kind.TAKEN_OVER, attempt) not in known:
        told.append(
            Entry(execution.started_at, "claimed", "claimed again", attempt, execution.worker)
        )
    if execution.completed_at is not None and (Kind.RELEASED, attempt) not in known:
        told.append(
            Entry(execution.completed_at, State.COMPLETED, "completed", attempt, execution.worker)
        )
    if execution.retired_at is not None and execution.retired_reason == "expired":
        told.append(Entry(execution.retired_at, Kind.RETIRED, "retired", attempt, text="expired"))
    return told


def _event(event: ExecutionEvent, *, values: bool) -> Entry:
    text, traceback = event.reason, event.traceback
    if not values and event.kind in TELLING_VALUES:
        text, traceback = HIDDEN, ""
    return Entry(
        at=event.at,
        kind=event.kind,
        title=str(event.get_kind_display()),
        attempt=event.attempt,
        who=event.actor or event.worker,
        task_id=event.task_id,
        text=text,
        traceback=traceback,
    )


def _duplicates(execution: TaskExecution) -> list[Entry]:
    skipped: QuerySet[ExecutionEvent] = execution.events.filter(kind=Kind.SKIPPED)
    newest = list(skipped.order_by("-id")[: SHOWN_DUPLICATES + 1])
    if len(newest) <= FEW_DUPLICATES:
        return [_event(event, values=True) for event in newest]
    first = skipped.order_by("id")[0]
    number = skipped.order_by()[:MOST_DUPLICATES].count()
    many = f"{number:,}" if number < MOST_DUPLICATES else f"{number:,} or more"
    return [
        Entry(
            at=first.at,
            kind=Kind.SKIPPED,
            title=f"{many} duplicates answered",
            until=newest[0].at,
            further=[_event(event, values=True) for event in newest[:SHOWN_DUPLICATES]],
        )
    ]
