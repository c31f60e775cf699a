"""Where a call comes from, a message of Celery's or plain Python; how a message is put back."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from celery import Task
from celery._state import get_current_task
from celery.app.task import Context
from celery.exceptions import Reject, Retry

from .conf import setting
from .protection import Protected, protecting

COPIES_HEADER = "ledger_copies"
"""How often this delivery was already put back; the wait doubles with it."""

_HOST = socket.gethostname()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call's origin. ``message`` is None for a direct or eager call."""

    task_name: str
    task: Task[Any, Any] | None
    message: Context | None

    @property
    def task_id(self) -> str:
        return (self.message.id or "")[:255] if self.message else ""

    @property
    def root_id(self) -> str:
        return (self.message.root_id or "")[:255] if self.message else ""

    @property
    def headers(self) -> dict[str, Any]:
        return (self.message.headers or {}) if self.message else {}

    @property
    def worker(self) -> str:
        """``host/pid`` of the process that runs the body."""
        host = self.message.hostname if self.message else None
        return f"{host or _HOST}/{os.getpid()}"

    @property
    def is_probably_duplicate(self) -> bool:
        """Redelivered by the broker, or put back because another run was in progress."""
        if self.message is None:
            return False
        info = self.message.delivery_info or {}
        return bool(info.get("redelivered")) or COPIES_HEADER in self.headers

    def put_back(self, reason: Exception) -> NoReturn:
        """Publish a copy of this message, due after a wait, and leave with Celery's ``Retry``.

        The user's retries are not touched. Returning or failing would acknowledge the message, and
        lose the work if the run in progress dies; rejecting with requeue would spin.
        """
        if self.task is None or self.message is None:
            raise reason
        copies = int(self.headers.get(COPIES_HEADER, 0)) + 1
        wait = _wait(copies)
        copy = self.task.signature_from_request(
            self.message,
            countdown=wait,
            retries=self.message.retries,
            headers={**self.headers, COPIES_HEADER: copies},
        )
        try:
            copy.apply_async()
        except Exception as error:
            raise Reject(f"could not publish a copy: {error!r}", requeue=True) from error
        raise Retry(
            str(reason),
            exc=reason,
            when=wait,  # type: ignore[arg-type]
            sig=copy,
        ) from reason


def _wait(copies: int) -> float:
    """Seconds before the n-th copy: doubling up to a maximum, with jitter so that copies spread."""
    doublings = min(copies - 1, 16)
    wait: int = min(setting("BUSY_COUNTDOWN") << doublings, setting("BUSY_COUNTDOWN_MAX"))
    return wait * random.uniform(0.75, 1.0)  # noqa: S311


def arriving(protected: Protected, args: Sequence[object], *, nested: bool) -> Delivery:
    """The origin of a call that is being made now. ``nested``: from inside a body of the ledger's,
    where Celery's current task, if it is this one, is the caller and not this call."""
    task = get_current_task()
    if task is None or protecting(task) is not protected:
        return Delivery(_name(protected, args), None, None)
    request = task.request
    if nested or request.called_directly or request.is_eager:
        return Delivery(task.name, task, None)
    return Delivery(task.name, task, request)


def _name(protected: Protected, args: Sequence[object]) -> str:
    """The task's name for a call that did not come through Celery."""
    if args and protected.takes_self(args):
        name = getattr(args[0], "name", None)
        if isinstance(name, str) and name:
            return name
    return protected.qualified_name
