"""From a row of the business to the executions that were called with it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ..models import TaskExecution
from . import search
from .list import badge, in_short, moment, with_arguments
from .permissions import may_view_values

SHOWN = 12


class CalledWith:
    """For the admin of a model whose primary keys are an argument of tasks: its page shows their
    newest executions, to those who may see executions and values.

    class EmployeeAdmin(CalledWith, admin.ModelAdmin):
        argument = "employee_id"
    """

    argument: str

    class Media:
        css = {"all": ("ledger/admin.css",)}

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)  # type: ignore[misc]
        may_view = request.user.has_perm("ledger.view_taskexecution") and may_view_values(request)
        return (*fields, "called_with") if obj is not None and may_view else fields

    @admin.display(description="executions")
    def called_with(self, argument: Model) -> SafeString | str:
        wanted = f"{self.argument}={argument.pk}"
        executions = TaskExecution.objects.defer("result", "error", "arguments").order_by("-id")
        found = list(with_arguments(search.matching(executions, wanted, values=True))[: SHOWN + 1])
        if not found:
            return "none"
        lines = format_html_join(
            "",
            '<div class="ledger-called">{} <a href="{}">{}</a> {}, claimed {}, attempt {}</div>',
            (
                (
                    badge(execution),
                    reverse("admin:ledger_taskexecution_change", args=[execution.pk]),
                    execution.task_name,
                    in_short(execution.arguments_text),  # type: ignore[attr-defined]
                    moment(execution.claimed_at),
                    execution.attempt,
                )
                for execution in found[:SHOWN]
            ),
        )
        if len(found) <= SHOWN:
            return lines
        url = reverse("admin:ledger_taskexecution_changelist", query={"q": wanted})
        return format_html('{}<a href="{}">All of them</a>', lines, url)
