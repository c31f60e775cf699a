"""The execution that runs in this context, for its body to ask about."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .exceptions import LedgerError

_NAMESPACE = uuid.UUID("5b0d2a52-5d5b-4f7e-9a55-0c6b1f9f2f11")


@dataclass(frozen=True, slots=True)
class Execution:
    """What a running body may know of itself.

    ``key``: the execution's key. ``attempt``: 1, 2, …, or 0 where the ledger was unreachable and
    the body runs unprotected. ``period``: the business date of a date-based key, else None.
    """

    key: str
    attempt: int
    period: dt.date | None
    database: str
    id: int | None

    @property
    def idempotency_key(self) -> str:
        """A UUID to hand to an outside provider: the same for every attempt of this execution, and
        another one after it was retired (cleared or expired) and claimed anew."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.key}#{self.id or 0}"))


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


def is_nested() -> bool:
    return bool(_running.get())


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
