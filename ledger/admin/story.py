"""What happened to one execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from ..models import ExecutionEvent, ExecutionStep, OutboxMessage, TaskExecution
from .permissions import ReadOnly

if TYPE_CHECKING:
    TabularInline = admin.TabularInline[Any, TaskExecution]
else:
    TabularInline = admin.TabularInline


class EventInline(ReadOnly, TabularInline):
    model = ExecutionEvent
    ordering = ("id",)
    fields = ("at", "kind", "attempt", "task_id", "worker", "actor", "reason", "traceback")


class StepInline(ReadOnly, TabularInline):
    model = ExecutionStep
    ordering = ("id",)
    fields = ("name", "attempt", "completed_at", "result")


class FollowUpInline(ReadOnly, TabularInline):
    model = OutboxMessage
    ordering = ("id",)
    fields = ("task_name", "task_id", "created_at", "published_at", "tries", "error")
