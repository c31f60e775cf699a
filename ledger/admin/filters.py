"""The list's filters. Each can be answered by an index, whatever the table's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest

from .. import readable
from ..models import Guarantee, State, TaskExecution
from .workers import without_worker

if TYPE_CHECKING:
    Executions = QuerySet[TaskExecution]

MOST_KINDS = 1000
"""Pairs of a task and a guarantee that are looked for."""

# A loose index scan: from each pair to the next, instead of through every row.
_KINDS = """
    with recursive kinds as (
        (select task_name, guarantee from ledger_taskexecution
         order by task_name, guarantee limit 1)
        union all
        select following.* from kinds, lateral (
            select task_name, guarantee from ledger_taskexecution
            where (task_name, guarantee) > (kinds.task_name, kinds.guarantee)
            order by task_name, guarantee limit 1
        ) following
    )
    select * from kinds limit %s
"""


def kinds(database: str) -> list[tuple[str, str]]:
    """Every task that has executions, with each guarantee that they have, in the order of names."""
    with connections[database].cursor() as cursor:
        cursor.execute(_KINDS, [MOST_KINDS])
        return [(name, guarantee) for name, guarantee in cursor.fetchall()]


class Choice(admin.SimpleListFilter):
    """A filter that refuses what is none of its choices."""

    options: list[tuple[str, str]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return self.options

    def queryset(self, request: HttpRequest, queryset: Executions) -> Executions:
        value = self.value()
        if value is None:
            return queryset
        if value not in dict(self.options):
            raise IncorrectLookupParameters(f"{self.parameter_name}={value!r}")
        return self.chosen(value, queryset)

    def chosen(self, value: str, executions: Executions) -> Executions:
        raise NotImplementedError


class StateFilter(Choice):
    title = "state"
    parameter_name = "state"
    options = [(str(value), str(label)) for value, label in State.choices]

    def chosen(self, value: str, executions: Executions) -> Executions:
        if value == State.RUNNING:  # which is always live: the index of open rows finds it
            return executions.filter(state=value, completed_at=None, retired_at=None)
        return executions.filter(state=value)


class AttentionFilter(Choice):
    title = "what needs a look"
    parameter_name = "look"
    options = [
        ("held", "held for a person"),
        ("lost", "running without a worker"),
        ("repeated", "more than one attempt"),
    ]

    def chosen(self, value: str, executions: Executions) -> Executions:
        if value == "held":
            return executions.filter(state=State.HELD, completed_at=None, retired_at=None)
        if value == "lost":
            return without_worker(executions)
        return executions.filter(attempt__gt=1)


class TaskFilter(admin.SimpleListFilter):
    title = "task"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        self.kinds = kinds(TaskExecution.objects.db)
        names = dict.fromkeys(name for name, _ in self.kinds)
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: Executions) -> Executions:
        if (name := self.value()) is None:
            return queryset
        name = readable.text(name)
        guarantees = [guarantee for known, guarantee in self.kinds if known == name]
        if len(guarantees) == 1:  # as a rule; then the index has them in the order of the list
            queryset = queryset.filter(guarantee=guarantees[0])
        return queryset.filter(task_name=name)


class GuaranteeFilter(Choice):
    title = "guarantee"
    parameter_name = "guarantee"
    options = [(str(value), str(label)) for value, label in Guarantee.choices]

    def chosen(self, value: str, executions: Executions) -> Executions:
        names = [name for name, known in kinds(TaskExecution.objects.db) if known == value]
        return executions.filter(guarantee=value, task_name__in=names)


class HistoryFilter(Choice):
    title = "whether it is live"
    parameter_name = "live"
    options = [("yes", "live"), ("no", "retired: history")]

    def chosen(self, value: str, executions: Executions) -> Executions:
        return executions.filter(retired_at__isnull=value == "yes")


FILTERS = (AttentionFilter, StateFilter, TaskFilter, GuaranteeFilter, HistoryFilter)
