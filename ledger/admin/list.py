"""The list of executions: one query for the page, and one for each thing its rows share."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from ..models import TaskExecution
from . import dates, paging, search, workers
from .filters import FILTERS
from .permissions import may_view_values

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[TaskExecution]
else:
    ModelAdmin = admin.ModelAdmin

MOST_TEXT = 70
"""Characters of a row's arguments."""

# Of those that are stored in little room: a page is a hundred rows.
_ARGUMENTS = "case when pg_column_size(arguments) < 2000 then arguments::text end"

MOST_DUPLICATES = 1000
"""Duplicates are counted up to this; one key may have been answered a million times."""

SEARCH = "A whole key, or a Celery task id"
SEARCH_VALUES = f"{SEARCH}, or the value of an argument: 4711, or employee_id=4711"

_DUPLICATES = """
    select execution, (
        select count(*) from (
            select from ledger_executionevent
            where execution_id = execution and kind = 'skipped' limit %s
        ) counted
    ) from unnest(%s::bigint[]) execution
"""


class ExecutionList(ChangeList):
    """Django's list of changes, with pages that need no count."""

    older = newer = ""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-id"]

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}

    def get_filters(self, request: HttpRequest) -> Any:
        specs, has_specs, lookups, *rest = super().get_filters(request)
        return specs, has_specs, dates.by_id(cast("dict[str, list[Any]]", lookups)), *rest

    def get_results(self, request: HttpRequest) -> None:
        place = paging.Place.parse(request.GET.get(PAGE_VAR, ""))
        values = may_view_values(request)
        rows = with_arguments(self.queryset) if values else self.queryset
        page = paging.page(rows, place, self.list_per_page)
        duplicates, lost = duplicates_of(page.rows), workers.lost(page.rows)
        for row in page.rows:
            row.duplicates = duplicates[row.pk]  # type: ignore[attr-defined]
            row.is_lost = row.pk in lost  # type: ignore[attr-defined]
        self.older = self._at(page.older)
        self.newer = self._at(page.newer)
        self.result_list = page.rows
        self.result_count = len(page.rows)
        self.full_result_count = None
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.paginator = None
        self.search_help_text = SEARCH_VALUES if values else SEARCH

    def _at(self, place: paging.Place | None) -> str:
        return self.get_query_string({PAGE_VAR: str(place)}) if place else ""

    def dates(self) -> dict[str, Any]:
        return dates.drill_down(self)


class ListOfExecutions(ModelAdmin):
    list_display = (
        "badge",
        "task",
        "short_key",
        "in_short",
        "claimed",
        "duration",
        "attempt",
        "duplicates",
        "worker",
        "period",
        "expires",
    )
    list_display_links = ("short_key",)
    list_filter = FILTERS
    list_per_page = 100
    sortable_by = ()
    date_hierarchy = dates.FIELD
    search_fields = ("key", "task_id")
    ordering = ("-id",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        css = {"all": ("ledger/admin.css",)}

    @admin.display(description="state")
    def badge(self, execution: TaskExecution) -> SafeString:
        return badge(execution)

    @admin.display(description="task")
    def task(self, execution: TaskExecution) -> SafeString:
        """The name, which may break behind each dot."""
        parts = execution.task_name.replace(".", ".\0").split("\0")
        return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts))

    @admin.display(description="key")
    def short_key(self, execution: TaskExecution) -> str:
        """The key without the prefix and task name, which have their own column."""
        rest = execution.key.removeprefix(f"idempotent:{execution.task_name}:")
        return rest if len(rest) <= 24 else f"{rest[:8]}…{rest[64:]}"

    @admin.display(description="arguments")
    def in_short(self, execution: TaskExecution) -> str:
        return in_short(execution.arguments_text)  # type: ignore[attr-defined]

    @admin.display(description="claimed")
    def claimed(self, execution: TaskExecution) -> SafeString:
        return day_and_time(execution.claimed_at)

    @admin.display(description="expires")
    def expires(self, execution: TaskExecution) -> SafeString | str:
        if execution.retired_at is not None:
            return format_html("retired {}", day_and_time(execution.retired_at))
        return day_and_time(execution.expires_at) if execution.expires_at else "–"

    @admin.display(description="duration")
    def duration(self, execution: TaskExecution) -> str:
        return duration(execution) or "–"

    @admin.display(description="duplicates")
    def duplicates(self, execution: TaskExecution) -> str:
        return capped(execution.duplicates)  # type: ignore[attr-defined]

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = list(self.list_display)
        if not may_view_values(request):
            shown.remove("in_short")
        return shown

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ExecutionList]:
        return ExecutionList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return super().changelist_view(request, {"title": "Executions", **(extra_context or {})})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The list's own filters and nothing else: any other field's would read the whole table,
        and tell of values that are hidden."""
        known = {known.parameter_name for known in FILTERS}
        return lookup in known or dates.is_date_lookup(lookup, value)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TaskExecution], search_term: str
    ) -> tuple[QuerySet[TaskExecution], bool]:
        if search_term.strip():
            values = may_view_values(request)
            queryset = search.matching(queryset, search_term, values=values)
        return queryset, False

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskExecution]:
        return super().get_queryset(request).defer("result", "arguments", "error")


def badge(execution: TaskExecution) -> SafeString:
    """The state, as text in a colour. ``is_lost``, where the row has it: nobody runs it."""
    state = execution.state
    text = execution.get_state_display()
    if getattr(execution, "is_lost", False):
        state, text = "lost", "running, no worker"
    elif execution.retired_at is not None:
        text = f"{text}, retired"
    return format_html('<span class="ledger-badge ledger-{}">{}</span>', state, text)


def duration(execution: TaskExecution) -> str:
    """Of the attempt that completed, or of the running one until now; empty for others."""
    if execution.completed_at is not None:
        return seconds(execution.completed_at - execution.started_at)
    if execution.state == "running":
        return f"{seconds(max(timezone.now() - execution.started_at, dt.timedelta()))} so far"
    return ""


def moment(at: dt.datetime) -> str:
    """``2026-11-25 04:19:39``, in the current time zone, as the pages write times."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"


def day_and_time(at: dt.datetime) -> SafeString:
    """``moment``, which breaks between its two parts alone."""
    parts = ((part,) for part in moment(at).split())
    return format_html_join(" ", '<span class="ledger-whole">{}</span>', parts)


def with_arguments(executions: QuerySet[TaskExecution]) -> QuerySet[TaskExecution]:
    """With ``arguments_text`` for ``in_short``."""
    return executions.extra(select={"arguments_text": _ARGUMENTS})  # noqa: S610


def in_short(arguments: str | None) -> str:
    """``named_in_short`` of JSON text; None: too long."""
    if arguments is None:
        return "…"
    try:
        named: dict[str, Any] = json.loads(arguments)
    except (ValueError, RecursionError):  # a number of too many digits, or too many brackets
        return Truncator(arguments).chars(MOST_TEXT)
    return named_in_short(named)


def named_in_short(named: dict[str, Any]) -> str:
    """``year=2025, month=10, employee_id=9``, as a search would name them."""
    values = (
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in named.items()
    )
    return Truncator(", ".join(values)).chars(MOST_TEXT)


def seconds(took: dt.timedelta) -> str:
    """``0.042 s``; from a minute on ``1:02:03``."""
    if took < dt.timedelta(minutes=1):
        return f"{took.total_seconds():.3f} s"
    return str(took).split(".")[0]


def duplicates_of(executions: Sequence[TaskExecution]) -> dict[int, int]:
    """How many duplicates each has answered, at most ``MOST_DUPLICATES``, by id. One query."""
    with connections[TaskExecution.objects.db].cursor() as cursor:
        cursor.execute(_DUPLICATES, [MOST_DUPLICATES, [row.pk for row in executions]])
        return dict(cursor.fetchall())


def capped(number: int) -> str:
    return f"{MOST_DUPLICATES:,}+" if number >= MOST_DUPLICATES else f"{number:,}"
