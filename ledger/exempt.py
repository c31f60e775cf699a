"""Tasks that are left out of the ledger on purpose, and say why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from celery import Task
from celery.local import Proxy

from .exceptions import ImproperTask
from .protection import MARK

F = TypeVar("F", bound=Callable[..., Any])

REASON = "__ledger_exempt__"
"""Attribute of a marked function that holds its reason."""

_marked_tasks: list[tuple[Any, str]] = []
"""What ``shared_task`` and ``app.task`` return is looked into only when somebody asks: that would
make the app finalize before it is configured."""


def non_idempotent(reason: str) -> Callable[[F], F]:
    """Mark a task that needs no ledger: harmless when repeated, or protected in another way.

    It changes nothing but what ``manage.py check`` (``ledger.W001``) and ``manage.py ledger tasks``
    say of the task. Goes under or over ``shared_task``.
    ``reason``: why, for those who read them. ``ImproperTask`` where it is missing, or where the
    function is under the ledger; over ``shared_task``, ``manage.py check`` says that.
    """
    if not isinstance(reason, str) or not reason.strip():
        raise ImproperTask(
            'non_idempotent takes a reason: write @non_idempotent("only reads") or what it is.'
        )

    def mark(task: F) -> F:
        if isinstance(task, Proxy):
            _marked_tasks.append((task, reason))
            return task
        if hasattr(task, MARK):
            raise ImproperTask(
                f"{task.__module__}.{task.__qualname__}: it is under the ledger, and cannot be "
                "non_idempotent as well. Leave one of the decorators."
            )
        setattr(task, REASON, reason)
        return task

    return mark


def reason_of(task: Task[Any, Any]) -> str | None:
    """Why a task is left out, or None where it is not marked."""
    for marked, reason in _marked_tasks:
        if marked == task:
            return reason
    of_the_body: str | None = getattr(task.run, REASON, None)
    return getattr(task, REASON, of_the_body)
