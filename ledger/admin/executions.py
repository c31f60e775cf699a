"""Executions in the admin. Each page is a file of its own; here they are put together."""

from __future__ import annotations

from django.contrib import admin

from ..models import TaskExecution
from .deciding import Deciding
from .detail import PageOfExecution
from .export import Exporting
from .list import ListOfExecutions
from .overview import Overview
from .permissions import ReadOnly


@admin.register(TaskExecution)
class TaskExecutionAdmin(
    ReadOnly, Overview, Deciding, Exporting, PageOfExecution, ListOfExecutions
):
    pass
