"""The list of executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from ..models import TaskExecution

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[TaskExecution]
else:
    ModelAdmin = admin.ModelAdmin


class ListOfExecutions(ModelAdmin):
    list_display = (
        "state",
        "task_name",
        "short_key",
        "period",
        "attempt",
        "worker",
        "duration",
        "claimed_at",
        "expires_at",
        "retired_at",
    )
    list_display_links = ("short_key",)
    list_filter = ("state", "guarantee", ("retired_at", admin.EmptyFieldListFilter), "task_name")
    search_fields = ("key", "task_id")
    search_help_text = "Key or Celery task id, or the beginning of one"
    ordering = ("-id",)
    show_full_result_count = False

    @admin.display(description="key")
    def short_key(self, execution: TaskExecution) -> str:
        """The key without the prefix and task name, which have their own column."""
        rest = execution.key.removeprefix(f"idempotent:{execution.task_name}:")
        return rest if len(rest) <= 24 else f"{rest[:12]}…{rest[64:]}"

    @admin.display(description="duration")
    def duration(self, execution: TaskExecution) -> str:
        """Seconds from the start of the attempt that completed to its completion."""
        if execution.completed_at is None:
            return "–"
        seconds = (execution.completed_at - execution.started_at).total_seconds()
        return f"{seconds:.3f} s"

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return tuple(f"{name}__startswith" for name in self.search_fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskExecution]:
        return super().get_queryset(request).defer("result", "arguments", "error")
