"""The overview's page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connections
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from psycopg.errors import QueryCanceled

from ...alarms import ALARMS
from ...models import State, TaskExecution
from .. import primary
from . import charts, figures
from .figures import DUPLICATES, OUTCOMES, TROUBLE, Figures, Now, Task
from .ranges import PRESETS, Range, RangeForm

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[TaskExecution]
else:
    ModelAdmin = admin.ModelAdmin

TASKS_SHOWN = 50
LABELS = {"hour": "%-d %b %H:%M", "day": "%-d %b", "week": "week of %-d %b", "month": "%b %Y"}

THRESHOLDS = {alarm.name: alarm.threshold for alarm in ALARMS}
"""A tile warns of what calls somebody as well."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure. ``warns`` where somebody should look."""

    name: str
    number: str
    note: str
    url: str = ""
    warns: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A task as the table shows it."""

    name: str
    url: str
    sparkline: SafeString
    cells: list[str]


class Overview(ModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        page = path(
            "overview/",
            self.admin_site.admin_view(self.overview_view),
            name="ledger_taskexecution_overview",
        )
        return [page, *super().get_urls()]

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        with figures.bounded(connections[primary.alias()]) as cursor:
            waiting = figures.now(cursor)
        form = RangeForm(request.GET, now=waiting.at)
        range = form.chosen()
        found = None
        try:
            with figures.bounded(connections[self.get_queryset(request).db]) as cursor:
                found = figures.figures(cursor, range)
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Overview",
            "form": form,
            "presets": {name: label for name, (label, _) in PRESETS.items()},
            "range": range,
            "too_much": found is None,
            "timeout": figures.TIMEOUT,
            "now": list(tiles_now(waiting)),
            "pygal": charts.INSTALLED,
            **(in_range(found, range) if found else {}),
        }
        return TemplateResponse(request, "ledger/overview.html", context)


def tiles_now(now: Now) -> Iterator[Tile]:
    held, stuck, running = list_url(look="held"), list_url(look="lost"), list_url(state="running")
    oldest = f"the oldest for {words(now.oldest_running)}" if now.running else ""
    unpublished = f"{now.unpublished:,} not published yet"
    yield Tile("Held", f"{now.held:,}", "for a person to decide", held, now.held > 0)
    yield Tile("Stuck", f"{now.stuck:,}", "running without a worker", stuck, now.stuck > 0)
    yield Tile("Running", f"{now.running:,}", oldest, running)
    late = now.outbox_lag > THRESHOLDS["LedgerOutboxBehind"]
    yield Tile("Outbox lag", words(now.outbox_lag), unpublished, warns=late)
    late = now.sweep_lag > THRESHOLDS["LedgerSweepBehind"]
    yield Tile("Sweep lag", words(now.sweep_lag), "to retire or purge what is due", warns=late)


def in_range(found: Figures, range: Range) -> dict[str, Any]:
    """What the template shows of a range."""
    labels = [step.strftime(LABELS[range.step]) for step in found.steps]
    outcomes = {State(outcome).label: found.over_time(outcome) for outcome in OUTCOMES}
    trouble = {State(outcome).label: found.over_time(outcome) for outcome in TROUBLE}
    duplicates = found.over_time(DUPLICATES)
    executions = sum(sum(numbers) for numbers in outcomes.values())
    asked = executions + sum(duplicates)
    share = f"{sum(duplicates) / asked:.1%} of all deliveries" if asked else "none"
    return {
        "totals": [
            Tile("Executions", f"{executions:,}", f"of {len(found.tasks):,} tasks"),
            *(Tile(name.capitalize(), f"{sum(n):,}", "") for name, n in outcomes.items()),
            Tile("Duplicates prevented", f"{sum(duplicates):,}", share),
        ],
        "outcomes": list(outcomes),
        "outcomes_chart": charts.bars(f"Executions by outcome, per {range.step}", labels, outcomes),
        "trouble_chart": charts.bars(
            f"Failed and held, per {range.step}", labels, trouble, half=True
        ),
        "duplicates_chart": charts.bars(
            f"Duplicates prevented, per {range.step}", labels, {"duplicates": duplicates}, half=True
        ),
        "steps": [
            (label, [f"{number:,}" for number in numbers])
            for label, *numbers in zip(labels, *outcomes.values(), duplicates, strict=True)
        ],
        "tasks": [row(task, range) for task in found.tasks[:TASKS_SHOWN]],
        "more_tasks": len(found.tasks[TASKS_SHOWN:]),
    }


def row(task: Task, range: Range) -> Row:
    numbers = task.executions
    return Row(
        task.name,
        list_url(task=task.name),
        charts.sparkline(
            f"{task.name}: {min(numbers):,} to {max(numbers):,} executions per {range.step}",
            numbers,
        ),
        [
            f"{sum(numbers):,}",
            *(f"{sum(task.counts[outcome]):,}" for outcome in (*OUTCOMES, DUPLICATES)),
            *([words(seconds) for seconds in task.percentiles] or ["–"] * 3),
        ],
    )


def list_url(**filters: str) -> str:
    return reverse("admin:ledger_taskexecution_changelist", query=filters)


def words(seconds: float) -> str:
    """A duration to about two digits: ``340 ms``, ``2.1 s``, ``4 min``, ``3 h``, ``12 days``."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
