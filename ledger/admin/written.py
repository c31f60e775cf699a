"""From a row of the business to the executions that wrote it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from ..written import executions_of

SHOWN = 20


class WrittenBy:
    """For the admin of a model whose rows are given to ``Execution.wrote``: its page links to their
    executions.

    class PayslipAdmin(WrittenBy, admin.ModelAdmin): ...
    """

    readonly_fields: Any = ("written_by",)

    @admin.display(description="written by")
    def written_by(self, written: Model) -> SafeString | str:
        found = executions_of(written).values_list("pk", "task_name", "state")[:SHOWN]
        links = [
            (reverse("admin:ledger_taskexecution_change", args=[pk]), f"{name}, {state}")
            for pk, name, state in found
        ]
        return format_html_join(", ", '<a href="{}">{}</a>', links) if links else "none"
