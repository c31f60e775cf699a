"""A warning for publishing inside a body that may yet roll back."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from .execution import innermost
from .outbox import is_publishing


class EarlyPublish(RuntimeWarning):
    """A message left an exactly-once body before its effects were committed."""


_PLUMBING = ("celery.", "kombu.", "ledger.", "django.dispatch", "vine.")


def warn(headers: dict[str, Any], **signal: Any) -> None:
    """Receiver of Celery's ``before_task_publish``. The task's own retry is meant to leave."""
    execution = innermost()
    if execution is None or execution.id is None or execution.guarantee != "exactly_once":
        return
    if is_publishing() or (execution.task_id and headers.get("id") == execution.task_id):
        return
    frame = sys._getframe(1)
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith(_PLUMBING):
        frame = frame.f_back
    warnings.warn_explicit(
        f"{headers.get('task')} is published inside the body of {execution.task_name}, before its "
        "effects are committed: it would run even if they are rolled back. Use "
        "current_execution().enqueue(task.s(...)), or transaction.on_commit().",
        EarlyPublish,
        frame.f_code.co_filename,
        frame.f_lineno,
    )
