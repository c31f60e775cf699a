"""Who may do what. Looking takes Django's own view permission; see ``TaskExecution.Meta`` for the
others, one for each decision and one for values."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

HIDDEN = "(hidden: this takes the permission to view values)"


def may_view_values(request: HttpRequest) -> bool:
    """Whether arguments, results and errors are shown: they may say what somebody earns."""
    return request.user.has_perm("ledger.can_view_values")


class ReadOnly:
    """No add, no edit, no delete: rows are written by the protocol alone."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
