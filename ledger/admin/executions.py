"""Executions in the admin. Each page is a file of its own; here they are put together."""

from __future__ import annotations

from django.contrib import admin

from ..models import TaskExecution
from .list import ListOfExecutions
from .permissions import ReadOnly
from .story import EventInline, FollowUpInline, StepInline


@admin.register(TaskExecution)
class TaskExecutionAdmin(ReadOnly, ListOfExecutions):
    inlines = (EventInline, StepInline, FollowUpInline)
