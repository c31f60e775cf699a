"""The page between wish and deed: what a decision will do to which executions, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from ..exceptions import LedgerError
from ..models import State, TaskExecution
from . import primary, workers
from .decisions import DECISIONS, Decision, Reason, Seen, allowed, decide
from .list import badge, named_in_short
from .permissions import may_view_values

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[TaskExecution]
else:
    ModelAdmin = admin.ModelAdmin

MOST = 200
"""Executions that one decision may be about."""

TOLD = 10
"""Refusals that are told one by one."""


class Deciding(ModelAdmin):
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.decide_view)
        own: list[URLPattern] = [path("decide/<str:verb>/", view, name="ledger_decide")]
        return own + super().get_urls()

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        location = {"action_location": action_location} if action_location else {}  # Django 6.1
        ours = {known.verb: (_action(known), known.verb, known.label) for known in allowed(request)}
        return {**super().get_actions(request, **location), **ours}

    def decide_view(self, request: HttpRequest, verb: str) -> HttpResponse:
        decision = DECISIONS.get(verb)
        if decision is None:
            raise Http404
        if not self.has_view_permission(request) or not request.user.has_perm(decision.permission):
            raise PermissionDenied
        if request.method == "POST":
            form = decision.form(request.POST)
            seen = [Seen.parse(text) for text in request.POST.getlist("seen")[:MOST]]
            wanted = [one for one in seen if one is not None]
            if form.is_valid():
                return self._decide(request, decision, wanted, form)
            ids = [one.id for one in wanted]
        else:
            form = decision.form()
            ids = _ids(request.GET.get("ids", ""))
        return self._confirm(request, decision, ids, form)

    def _confirm(
        self, request: HttpRequest, decision: Decision, ids: Sequence[int], form: Reason
    ) -> HttpResponse:
        found = TaskExecution.objects.using(primary.alias()).filter(pk__in=ids)
        executions = list(found.defer("result", "error").order_by("-id"))
        lost = workers.lost(executions)
        rows = [_Row(decision, execution, lost) for execution in executions]
        able = [row for row in rows if not row.refusal]
        values = may_view_values(request)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": decision.label,
            "media": self.media,
            "decision": decision,
            "able": able,
            "example": values and "result" in form.fields and _last_result(able),
            "unable": [row for row in rows if row.refusal],
            "form": form,
            "values": values,
            "back": self._back(request, ids),
        }
        return TemplateResponse(request, "ledger/decide.html", context)

    def _decide(
        self, request: HttpRequest, decision: Decision, seen: Sequence[Seen], form: Reason
    ) -> HttpResponse:
        actor, reason = request.user.get_username(), form.cleaned_data["reason"]
        refused: list[str] = []
        for one in seen:
            try:
                decide(decision, one, actor=actor, reason=reason, **form.choices())
            except LedgerError as error:
                refused.append(str(error))
        done = len(seen) - len(refused)
        if done:
            self.message_user(request, f"{done} {decision.done}.", messages.SUCCESS)
        for why in refused[:TOLD]:
            self.message_user(request, f"Not {decision.done}: {why}", messages.WARNING)
        if len(refused) > TOLD:
            more = f"Not {decision.done}: {len(refused) - TOLD} more."
            self.message_user(request, more, messages.WARNING)
        return HttpResponseRedirect(self._back(request, [one.id for one in seen]))

    def _back(self, request: HttpRequest, ids: Sequence[int]) -> str:
        """Where the person came from: the list as it was filtered, or the execution's page."""
        back = request.POST.get("back") or request.GET.get("back") or ""
        if url_has_allowed_host_and_scheme(back, allowed_hosts=None):
            return back
        if len(ids) == 1:
            return reverse("admin:ledger_taskexecution_change", args=[ids[0]])
        return reverse("admin:ledger_taskexecution_changelist")


class _Row:
    """An execution that the page shows, as it is now."""

    def __init__(self, decision: Decision, execution: TaskExecution, lost: set[int]) -> None:
        execution.is_lost = execution.pk in lost  # type: ignore[attr-defined]
        self.execution = execution
        self.badge = badge(execution)
        self.arguments = named_in_short(execution.arguments)
        self.seen = str(Seen.of(execution))
        self.refusal = decision.refusal(execution)
        self.effect = "" if self.refusal else decision.effect(execution)


def _last_result(rows: Sequence[_Row]) -> str:
    """What their task, where it is one, returned when it last did; by the index of all tasks."""
    kinds = {(row.execution.task_name, row.execution.guarantee) for row in rows}
    if len(kinds) != 1:
        return ""
    [(name, guarantee)] = kinds
    completed = TaskExecution.objects.filter(
        task_name=name, guarantee=guarantee, state=State.COMPLETED
    )
    newest = completed.order_by("-task_name", "-guarantee", "-id")
    text = newest.extra(select={"text": "left(result::text, 1000)"}).values_list("text", flat=True)
    return text.first() or ""


def _action(decision: Decision) -> Callable[..., HttpResponse | None]:
    """The list's action: to the page that asks for confirmation."""

    def action(
        modeladmin: Deciding, request: HttpRequest, queryset: QuerySet[TaskExecution]
    ) -> HttpResponse | None:
        ids = list(queryset.values_list("pk", flat=True)[: MOST + 1])
        if len(ids) > MOST:
            why = f"More than {MOST} executions are chosen. Choose fewer at a time."
            modeladmin.message_user(request, why, messages.WARNING)
            return None
        query = {"ids": ",".join(map(str, ids)), "back": request.get_full_path()}
        url = reverse("admin:ledger_decide", args=[decision.verb])
        return HttpResponseRedirect(f"{url}?{urlencode(query)}")

    return action


def _ids(text: str) -> list[int]:
    ids = text.split(",")[:MOST]
    return [int(id) for id in ids if id.isascii() and id.isdigit() and len(id) <= 18]
