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


# Asked for in the order of the whole index, which no other can give. Told of one task, ordered by
# id alone, the server might walk the primary key from its end to a task that has long not run.
_SPAN = """
    select min(oldest.id), max(newest.id)
    from unnest(%s::text[], %s::text[]) kind (task, guarantee),
    lateral (
        select id from ledger_taskexecution
        where (task_name, guarantee, id) >= (kind.task, kind.guarantee, 0)
        order by task_name, guarantee, id limit 1
    ) oldest,
    lateral (
        select id from ledger_taskexecution
        where (task_name, guarantee, id) <= (kind.task, kind.guarantee, 9223372036854775807)
        order by task_name desc, guarantee desc, id desc limit 1
    ) newest
"""

Kinds = list[tuple[str, str]]


def all_kinds() -> Kinds:
    """Every task that has executions, with each guarantee that they have, in the order of names."""
    with connections[TaskExecution.objects.db].cursor() as cursor:
        cursor.execute(_KINDS, [MOST_KINDS])
        return [(name, guarantee) for name, guarantee in cursor.fetchall()]


def of_kinds(executions: Executions, kinds: Kinds) -> Executions:
    """Those from the first execution of these kinds, which exist, to the last."""
    if not kinds:
        return executions.none()
    with connections[TaskExecution.objects.db].cursor() as cursor:
        cursor.execute(_SPAN, [list(column) for column in zip(*kinds, strict=True)])
        return executions.filter(id__range=cursor.fetchone())


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
        self.kinds = all_kinds()
        names = dict.fromkeys(name for name, _ in self.kinds)
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: Executions) -> Executions:
        if (name := self.value()) is None:
            return queryset
        name = readable.text(name)
        kinds = [kind for kind in self.kinds if kind[0] == name]
        if len(kinds) == 1:  # as a rule; then the index has them in the order of the list
            queryset = queryset.filter(guarantee=kinds[0][1])
        return of_kinds(queryset, kinds).filter(task_name=name)


class GuaranteeFilter(Choice):
    title = "guarantee"
    parameter_name = "guarantee"
    options = [(str(value), str(label)) for value, label in Guarantee.choices]

    def chosen(self, value: str, executions: Executions) -> Executions:
        kinds = [kind for kind in all_kinds() if kind[1] == value]
        names = [name for name, _ in kinds]
        return of_kinds(executions, kinds).filter(guarantee=value, task_name__in=names)


class HistoryFilter(Choice):
    title = "whether it is live"
    parameter_name = "live"
    options = [("yes", "live"), ("no", "retired: history")]

    def chosen(self, value: str, executions: Executions) -> Executions:
        return executions.filter(retired_at__isnull=value == "yes")


FILTERS = (AttentionFilter, StateFilter, TaskFilter, GuaranteeFilter, HistoryFilter)
