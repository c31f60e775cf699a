"""The execution that runs in this context, for its body to ask, to divide, and to follow up."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import outbox, steps, written
from .exceptions import LedgerError

if TYPE_CHECKING:
    from celery import Signature
    from celery.result import AsyncResult
    from django.db.models import Model

    from .call import Call

P = ParamSpec("P")
R = TypeVar("R")

_NAMESPACE = uuid.UUID("5b0d2a52-5d5b-4f7e-9a55-0c6b1f9f2f11")


class Execution:
    """What a running body may know of itself, and do as itself.

    ``key``: the execution's key. ``attempt``: 1, 2, …, or 0 where the ledger was unreachable and
    the body runs unprotected. ``period``: the business date of a date-based key, the first day of
    its week or month, the beginning of its hour (an aware datetime in the project's zone), or None.
    ``task_name``, ``guarantee``, ``database`` (alias), ``id`` (its row's, or None): as recorded.
    ``unpublished``: ids of follow-ups that wait for the commit.
    """

    __slots__ = (
        "_steps", "_wrote", "attempt", "database", "guarantee", "id", "key", "period", "task_id",
        "task_name", "unpublished",
    )  # fmt: skip

    def __init__(self, call: Call, attempt: int, id: int | None) -> None:
        self.key: str = call.key
        self.attempt = attempt
        self.period: dt.date | None = call.period_start
        self.task_name: str = call.delivery.task_name
        self.task_id: str = call.delivery.task_id
        self.guarantee: str = call.protected.options.guarantee
        self.database: str = call.database
        self.id = id
        self._steps: dict[str, str] | None = None
        self._wrote: list[tuple[str, str, str]] = []
        self.unpublished: list[int] = []

    def __repr__(self) -> str:
        return f"<Execution {self.key} attempt {self.attempt}>"

    @property
    def idempotency_key(self) -> str:
        """A UUID to hand to an outside provider: the same for every attempt of this execution, and
        another one after it was retired (cleared or expired) and claimed anew."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.key}#{self.id or 0}"))

    def step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do a part of this execution once: ``function(*args, **kwargs)`` runs in a transaction of
        its own that also records its result, and a later attempt returns that instead.

        ``name``: 1 to 200 characters, unique within the execution. Not within ``exactly_once``,
        whose body commits as one. ``LostClaim`` where another worker has taken over.
        """
        result: R = steps.run(self, name, function, args, kwargs)
        return result

    @property
    def steps_done(self) -> frozenset[str]:
        """Names of the steps that this execution has done, in all its attempts."""
        return frozenset(steps.done(self))

    def enqueue(self, signature: Signature[Any]) -> AsyncResult[Any]:
        """Send a task when, and only when, what this body writes is committed.

        The message is a row of the same transaction, published right after the commit, or by
        ``ledger.tasks.relay`` if the worker dies in between. Its task id is fixed now. It may be
        published twice, as any message may be: the task it names should be idempotent as well.
        """
        return outbox.enqueue(self, signature)

    def wrote(self, *objects: Model) -> None:
        """Remember these saved objects as what this execution wrote, for the audit: by model and
        primary key, and what they call themselves now.

        Saved in the transaction of the completion, or of the step it is called in, so that it is
        true when it can be read. Costs nothing where it is not called, and no round trip where it
        is. Not remembered where the ledger was unreachable.
        """
        self._wrote += [written.entry(self, one) for one in objects]


_running: ContextVar[tuple[Execution, ...]] = ContextVar("ledger_running", default=())


def current_execution() -> Execution:
    """The execution whose body is running here. ``LedgerError`` outside of one."""
    stack = _running.get()
    if not stack:
        raise LedgerError(
            "current_execution() was called outside of a decorated body (or in another thread). "
            "Call it inside, and hand what you need to threads yourself."
        )
    return stack[-1]


def innermost() -> Execution | None:
    stack = _running.get()
    return stack[-1] if stack else None


def is_running_here(key: str, database: str) -> bool:
    """Whether this very context is inside that execution: it must not wait for itself."""
    return any(e.key == key and e.database == database for e in _running.get())


@contextmanager
def executing(execution: Execution) -> Iterator[None]:
    token = _running.set((*_running.get(), execution))
    try:
        yield
    finally:
        _running.reset(token)
