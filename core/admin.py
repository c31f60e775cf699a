import json
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ledger import UnusableArgument
from ledger.admin.permissions import ReadOnly, may_view_values

from .models import DeadLetter, DeviceToken, Report, SecurityAlert, TokenFamily
from .tasks import process_dead_letter


class WrittenByTasks:
    """Rows that tasks write, and people look at and decide about."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LookedAt(WrittenByTasks):
    """Whose pages have nothing to save: what there is to decide is an action of the list."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may: bool = super().has_change_permission(request)  # type: ignore[misc]
        return may and obj is None


class TokenInline(WrittenByTasks, admin.TabularInline):
    model = DeviceToken
    readonly_fields = ("digest", "issued_at", "expires_at", "revoked_at")


@admin.register(TokenFamily)
class TokenFamilyAdmin(LookedAt, admin.ModelAdmin):
    list_display = ("id", "user", "device", "created_at", "compromised_at", "revoked_at")
    list_filter = (("compromised_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("user__username", "device")
    readonly_fields = ("user", "device", "created_at", "compromised_at", "revoked_at")
    inlines = (TokenInline,)
    actions = ("mark_compromised",)

    @admin.action(description="Mark as compromised", permissions=["change"])
    def mark_compromised(self, request: HttpRequest, chosen: QuerySet[TokenFamily]) -> None:
        marked = TokenFamily.objects.filter(pk__in=chosen).mark_compromised()
        self.message_user(
            request,
            f"{marked} marked. The hourly clean-up revokes their tokens and tells the admins.",
        )


@admin.register(DeviceToken)
class DeviceTokenAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("digest", "family", "issued_at", "expires_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("family__user",)
    search_fields = ("digest", "family__user__username")
    readonly_fields = ("family", "digest", "issued_at", "expires_at", "revoked_at")


@admin.register(SecurityAlert)
class SecurityAlertAdmin(WrittenByTasks, admin.ModelAdmin):
    """Writing a resolution resolves the alert."""

    list_display = ("kind", "severity", "message", "raised_at", "resolved_at", "resolved_by")
    list_filter = ("severity", ("resolved_at", admin.EmptyFieldListFilter), "kind")
    list_select_related = ("resolved_by",)
    search_fields = ("kind", "message")
    readonly_fields = (
        "kind", "severity", "message", "family", "raised_at", "resolved_at", "resolved_by",
    )  # fmt: skip

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if obj.resolution:
            obj.resolved_at = obj.resolved_at or timezone.now()
            obj.resolved_by = obj.resolved_by or request.user
        else:
            obj.resolved_at = obj.resolved_by = None
        super().save_model(request, obj, form, change)


@admin.register(Report)
class ReportAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ("period", "kind", "created_at")
    list_filter = ("kind",)
    search_fields = ("period",)
    date_hierarchy = "period"
    fields = readonly_fields = ("kind", "period", "created_at", "counted")

    @admin.display(description="content")
    def counted(self, report: Report) -> SafeString:
        row = '<tr><th scope="row">{}</th><td>{}</td></tr>'
        return format_html("<table>{}</table>", format_html_join("", row, _flat(report.content)))


@admin.register(DeadLetter)
class DeadLetterAdmin(LookedAt, admin.ModelAdmin):
    list_display = ("task_name", "error", "is_transient", "failures", "failed_at", "state")
    list_filter = ("state", "is_transient", "task_name")
    search_fields = ("task_name", "task_id", "requeued_as")
    fields = readonly_fields = (
        "task_name", "task_id", "execution", "arguments", "error", "where", "is_transient",
        "failures", "failed_at", "state", "decided_at", "requeued_as",
    )  # fmt: skip
    values = frozenset({"arguments", "error", "where"})
    actions = ("requeue", "dismiss")

    def get_fields(self, request: HttpRequest, obj: DeadLetter | None = None) -> list[Any]:
        return self._may_see(request, self.fields)

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return self._may_see(request, self.list_display)

    def _may_see(self, request: HttpRequest, fields: tuple[str, ...]) -> list[Any]:
        """Values are hidden from those from whom the ledger hides them."""
        return [field for field in fields if field not in self.values or may_view_values(request)]

    @admin.display(description="execution")
    def execution(self, letter: DeadLetter) -> SafeString:
        url = reverse("admin:ledger_taskexecution_changelist", query={"q": letter.task_id})
        return format_html('<a href="{}">What the ledger knows of it</a>', url)

    @admin.display(description="traceback")
    def where(self, letter: DeadLetter) -> SafeString | str:
        return format_html("<pre>{}</pre>", letter.traceback) if letter.traceback else "none"

    @admin.display(description="arguments")
    def arguments(self, letter: DeadLetter) -> str:
        message = json.loads(letter.message)
        return json.dumps({"args": message["args"], "kwargs": message["kwargs"]})

    @admin.action(description="Send again", permissions=["change"])
    def requeue(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        chosen = letters.filter(state=DeadLetter.State.OPEN)
        sent = 0
        for letter in chosen:
            try:
                process_dead_letter(letter.pk)  # even without a broker
                sent += 1
            except UnusableArgument as error:
                self.message_user(request, f"{letter}: {error}", messages.ERROR)
        self.message_user(request, f"{sent} sent again.")

    @admin.action(description="Dismiss: they are of no use any more", permissions=["change"])
    def dismiss(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        dismissed = letters.filter(state=DeadLetter.State.OPEN).update(
            state=DeadLetter.State.DISMISSED, decided_at=timezone.now()
        )
        self.message_user(request, f"{dismissed} dismissed.")


def _flat(content: dict[str, Any], *above: str) -> Iterator[tuple[str, Any]]:
    """Each number of a report, behind the names that lead to it."""
    for name, value in content.items():
        names = (*above, name if above else name.replace("_", " "))
        if isinstance(value, dict) and value:
            yield from _flat(value, *names)
        else:
            yield ": ".join(names), "none" if value == {} else value
