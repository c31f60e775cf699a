"""Pages of a list that may be ten million rows long: never counted, never walked through.

The newest execution, by its id, comes first. A page is what follows a row or comes before it:
``?p=older-42``, behind execution 42.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from django.db.models import QuerySet

from ..models import TaskExecution

_PLACE = re.compile(r"(older|newer)-(\d{1,18})", re.ASCII)


@dataclass(frozen=True)
class Place:
    """Where to look from a row: at those ``older`` or ``newer`` than it."""

    direction: str
    id: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What ``str`` wrote; None where it is something else, which means the first page."""
        found = _PLACE.fullmatch(text)
        return found and cls(found[1], int(found[2]))

    def __str__(self) -> str:
        return f"{self.direction}-{self.id}"


@dataclass(frozen=True)
class Page:
    """Some rows, newest first, and where its neighbours are; None where there are none."""

    rows: list[TaskExecution]
    newer: Place | None
    older: Place | None


def page(executions: QuerySet[TaskExecution], place: Place | None, size: int) -> Page:
    """The ``size`` rows at a place, by default the newest ones."""
    if place is not None and place.direction == "newer":
        rows = list(executions.filter(id__gt=place.id).order_by("id")[: size + 1])
        if len(rows) > size:
            rows = rows[size - 1 :: -1]
            return Page(rows, Place("newer", rows[0].pk), Place("older", rows[-1].pk))
        place = None  # the first page, and a full one where there is enough to show
    if place is not None:
        executions = executions.filter(id__lt=place.id)
    rows = list(executions.order_by("-id")[: size + 1])
    older = Place("older", rows[size - 1].pk) if len(rows) > size else None
    return Page(rows[:size], place and Place("newer", place.id - 1), older)


def chunks(executions: QuerySet[TaskExecution], size: int) -> Iterator[list[TaskExecution]]:
    """All rows, newest first, ``size`` at a time: no transaction and no cursor is kept open."""
    place: Place | None = None
    while True:
        found = page(executions, place, size)
        if found.rows:
            yield found.rows
        if found.older is None:
            return
        place = found.older
