"""The filtered list as a file: CSV, and XLSX where XlsxWriter is installed.

Rows are read and written some hundred at a time. What stands in a cell is never a formula, whatever
somebody put into an argument: CSV has it behind an apostrophe, XLSX as text.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Left
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from ..formulas import disarmed
from ..models import TaskExecution
from . import paging
from .list import duplicates_of
from .permissions import may_view_values

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[TaskExecution]
else:
    ModelAdmin = admin.ModelAdmin

try:
    import xlsxwriter
except ImportError:
    FORMATS = ["csv"]
else:
    FORMATS = ["csv", "xlsx"]

MOST_ROWS = 100_000
CHUNK = 500
MOST_TEXT = 32_000
"""Characters of a value; a cell of a spreadsheet holds 32,767."""

Cell = str | int | float | dt.datetime | None
Column = tuple[str, Callable[[TaskExecution], Cell]]

COLUMNS: list[Column] = [
    ("execution", lambda row: row.pk),
    ("state", lambda row: row.state),
    ("task", lambda row: row.task_name),
    ("key", lambda row: row.key),
    ("period", lambda row: row.period),
    ("guarantee", lambda row: row.guarantee),
    ("attempt", lambda row: row.attempt),
    ("duplicates answered", lambda row: row.duplicates),  # type: ignore[attr-defined]
    ("worker", lambda row: row.worker),
    ("Celery task", lambda row: row.task_id),
    ("claimed", lambda row: row.claimed_at),
    ("started", lambda row: row.started_at),
    ("completed", lambda row: row.completed_at),
    ("seconds", lambda row: _seconds(row)),
    ("expires", lambda row: row.expires_at),
    ("retired", lambda row: row.retired_at),
    ("retired because", lambda row: row.retired_reason),
]

TIMES = {"claimed", "started", "completed", "expires", "retired"}
"""Which XLSX, whose times have no zone, names theirs for."""

VALUES: list[Column] = [
    ("arguments", lambda row: json.dumps(row.arguments, ensure_ascii=False)[:MOST_TEXT]),
    ("result", lambda row: row.text),  # type: ignore[attr-defined]
    ("error", lambda row: row.error[:MOST_TEXT]),
]


class Exporting(ModelAdmin):
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.export_view)
        own: list[URLPattern] = [path("export.<str:format>", view, name="ledger_export")]
        return own + super().get_urls()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        return super().changelist_view(request, {"formats": FORMATS, **(extra_context or {})})

    def export_view(self, request: HttpRequest, format: str) -> HttpResponseBase:
        if format not in FORMATS:
            raise Http404
        if not self.has_view_permission(request):
            raise PermissionDenied
        back = reverse("admin:ledger_taskexecution_changelist")
        try:
            executions = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{back}?e=1")
        if executions.order_by("-id")[MOST_ROWS : MOST_ROWS + 1].exists():
            self.message_user(
                request,
                f"These are more than {MOST_ROWS:,} executions. Choose a date or a task, or ask "
                "in SQL.",
                messages.WARNING,
            )
            return HttpResponseRedirect(f"{back}?{request.GET.urlencode()}")
        values = may_view_values(request)
        columns = COLUMNS + VALUES if values else COLUMNS
        name = f"executions-{timezone.localdate()}.{format}"
        if format == "xlsx":
            file = _xlsx(columns, _rows(executions, values=values))
            return FileResponse(file, as_attachment=True, filename=name)
        lines = _csv(columns, _rows(executions, values=values))
        return StreamingHttpResponse(
            lines,
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _rows(executions: QuerySet[TaskExecution], *, values: bool) -> Iterator[TaskExecution]:
    if values:
        text = Left(Cast("result", TextField()), MOST_TEXT)
        executions = executions.defer(None).defer("result").annotate(text=text)
    for chunk in paging.chunks(executions, CHUNK):
        duplicates = duplicates_of(chunk)
        for row in chunk:
            row.duplicates = duplicates[row.pk]  # type: ignore[attr-defined]
            yield row


def _seconds(row: TaskExecution) -> float | None:
    if row.completed_at is None:
        return None
    return (row.completed_at - row.started_at).total_seconds()


class _Echo:
    """A file that hands back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _csv(columns: list[Column], rows: Iterator[TaskExecution]) -> Iterator[str]:
    writer = csv.writer(cast("IO[str]", _Echo()))
    yield "\ufeff"  # without which a spreadsheet takes UTF-8 for something older
    yield writer.writerow([title for title, _ in columns])
    for row in rows:
        yield writer.writerow([_as_text(cell(row)) for _, cell in columns])


def _as_text(cell: Cell) -> Cell:
    if isinstance(cell, dt.datetime):
        return timezone.localtime(cell).isoformat()
    return disarmed(cell) if isinstance(cell, str) else cell


def _xlsx(columns: list[Column], rows: Iterator[TaskExecution]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    with xlsxwriter.Workbook(file, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("executions")
        bold = workbook.add_format({"bold": True})
        time = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(columns) - 1, 20)
        zone = timezone.get_current_timezone_name()
        for number, (title, _) in enumerate(columns):
            sheet.write_string(0, number, f"{title} ({zone})" if title in TIMES else title, bold)
        for line, row in enumerate(rows, 1):
            for number, (_, cell) in enumerate(columns):
                value = cell(row)
                if isinstance(value, dt.datetime):  # a spreadsheet has no time zones
                    local = timezone.localtime(value).replace(tzinfo=None)
                    sheet.write_datetime(line, number, local, time)
                elif isinstance(value, str):
                    sheet.write_string(line, number, value)
                elif value is not None:
                    sheet.write_number(line, number, value)
    file.seek(0)
    return file
