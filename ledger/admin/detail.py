"""One execution's page: its story, its values, its parts, and what it belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from ..models import ExecutionObject, ExecutionStep, OutboxMessage, TaskExecution
from . import decisions, search, story, workers
from .list import badge, duration
from .permissions import may_view_values

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[TaskExecution]
else:
    ModelAdmin = admin.ModelAdmin

SHOWN = 50
"""Steps, follow-ups, objects that the page shows; it says how many there are."""

SHOWN_TEXT = 50_000
"""Characters of a value."""


STANDING = {
    "completed": "It took effect. A duplicate is answered with its result.",
    "running": "A worker is at it.",
    "lost": "Its worker is gone, and no delivery has taken over. The recovery finds that within a "
    "minute, where beat and a worker run.",
    "failed": "It did not complete. The next delivery runs it.",
    "held": "It runs no more until somebody decides. Find out whether it took effect, where it "
    "would have, and then release it.",
    "retired": "It is history. A delivery with the same key runs as a new execution.",
}


class PageOfExecution(ModelAdmin):
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied
        execution = self.get_object(request, unquote(object_id))
        if execution is None:
            missing: HttpResponse = self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined]
                request, self.opts, object_id
            )
            return missing
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Execution {execution.pk}",
            "subtitle": execution.task_name,
            "media": self.media,
            **page_of(request, execution),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "ledger/execution.html", context)


def page_of(request: HttpRequest, execution: TaskExecution) -> dict[str, Any]:
    """What the page's template shows. Some fifteen queries, each by an index."""
    values = may_view_values(request)
    execution.is_lost = bool(workers.lost([execution]))  # type: ignore[attr-defined]
    origin = _origin(execution)
    parent = origin.execution if origin else None
    return {
        "execution": execution,
        "badge": badge(execution),
        "standing": standing(execution),
        "duration": duration(execution),
        "values": _values(execution) if values else None,
        "timeline": story.tell(execution, origin, values=values),
        "steps": _steps(execution, values=values),
        "follow_ups": _follow_ups(execution),
        "objects": _objects(request, execution, values=values),
        "parent": parent,
        "root": _root(execution, parent),
        "lives": search.matching(_others(execution), execution.key, values=False)[:SHOWN],
        "decisions": decisions.offered(request, execution),
    }


def standing(execution: TaskExecution) -> str:
    """What its state means, and what comes next."""
    if execution.retired_at is not None:
        return STANDING["retired"]
    if execution.is_lost:  # type: ignore[attr-defined]
        return STANDING["lost"]
    return STANDING[execution.state]


def _values(execution: TaskExecution) -> dict[str, str]:
    row = TaskExecution.objects.filter(pk=execution.pk).extra(select={"text": "result::text"})
    result = row.values_list("text", flat=True).first()
    return {
        "arguments": pretty(execution.arguments),
        "result": "" if result is None else pretty(_parsed(result)),
        "error": execution.error,
    }


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a number of too many digits, or too many brackets
        return text


def pretty(value: Any) -> str:
    """JSON to read: indented, in its own letters, cut to what a page can show."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    except RecursionError:
        text = json.dumps(str(value))
    if len(text) > SHOWN_TEXT:
        text = f"{text[:SHOWN_TEXT]}\n… and {len(text) - SHOWN_TEXT:,} characters more"
    return text.encode("utf-8", "backslashreplace").decode()


def _steps(execution: TaskExecution, *, values: bool) -> dict[str, Any]:
    steps: QuerySet[ExecutionStep] = execution.steps.defer("result")
    newest = steps.extra(select={"text": "left(result::text, 500)"}).order_by("-id")
    number = steps.count()
    return {"number": number, "shown": newest[:SHOWN] if number else [], "values": values}


def _follow_ups(execution: TaskExecution) -> dict[str, Any]:
    messages: QuerySet[OutboxMessage] = execution.follow_ups.defer("message").order_by("-id")
    number = messages.count()
    shown = list(messages[:SHOWN]) if number else []
    ran = by_task_id(message.task_id for message in shown)
    for message in shown:
        message.ran = ran.get(message.task_id)  # type: ignore[attr-defined]
    return {"number": number, "shown": shown}


def by_task_id(task_ids: Iterable[str]) -> dict[str, TaskExecution]:
    """The newest execution of each Celery task id, where there is one."""
    wanted = [task_id for task_id in task_ids if task_id]
    found = TaskExecution.objects.filter(task_id__in=wanted).defer("arguments", "result", "error")
    return {row.task_id: row for row in sorted(found, key=lambda row: row.pk)} if wanted else {}


def _objects(request: HttpRequest, execution: TaskExecution, *, values: bool) -> dict[str, Any]:
    objects: QuerySet[ExecutionObject] = execution.wrote.order_by("id")
    number = objects.count()
    shown = list(objects[:SHOWN]) if number else []
    for entry in shown:
        entry.url = _url(request, entry)  # type: ignore[attr-defined]
        if not values:
            entry.label = ""
    return {"number": number, "shown": shown}


def _url(request: HttpRequest, entry: ExecutionObject) -> str:
    """The object's page in the admin, where it has one that this person may see."""
    try:
        model = apps.get_model(entry.model)
        if not request.user.has_perm(f"{model._meta.app_label}.view_{model._meta.model_name}"):
            return ""
        return reverse(f"admin:{entry.model.replace('.', '_')}_change", args=[entry.object_id])
    except (LookupError, ValueError, NoReverseMatch):
        return ""


def _origin(execution: TaskExecution) -> OutboxMessage | None:
    """The follow-up that published it first, by another execution. The row has the task id of its
    last attempt; its events have those of the attempts before."""
    task_ids = {execution.task_id}
    if execution.attempt > 1:
        events = execution.events.filter(kind__in=story.OTHER_KINDS).order_by("id")
        task_ids |= set(events.values_list("task_id", flat=True)[: story.MOST_EVENTS])
    task_ids.discard("")
    messages = OutboxMessage.objects.filter(task_id__in=task_ids).defer("message")
    others = messages.exclude(execution=execution.pk).select_related("execution")
    return others.order_by("id").first()


def _root(execution: TaskExecution, parent: TaskExecution | None) -> TaskExecution | None:
    """The execution whose task began the canvas or chain that this one is part of."""
    if execution.root_id != execution.task_id:
        return by_task_id([execution.root_id]).get(execution.root_id)
    return parent and (_root(parent, None) or parent)


def _others(execution: TaskExecution) -> QuerySet[TaskExecution]:
    others = TaskExecution.objects.exclude(pk=execution.pk).order_by("-id")
    return others.defer("arguments", "result", "error")
