"""Several real connections at once: each call runs in a thread, on a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds after which a wait for another thread is a failed test."""


class Elsewhere:
    """Runs calls in threads, and ends their connections before the database is emptied.

    with Elsewhere() as elsewhere:
        first = elsewhere.call(pay, 7)
        assert first.result(PATIENCE) == 7
    """

    def __enter__(self) -> Elsewhere:
        self._pool = ThreadPoolExecutor(max_workers=32)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True)

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        def run() -> T:
            try:
                return function(*args, **kwargs)
            finally:
                connections.close_all()

        return self._pool.submit(run)


def at_once(count: int, function: Callable[[int], T]) -> list[T | BaseException]:
    """Call ``function(i)`` in ``count`` threads, released together: results or exceptions, by i."""
    start = threading.Barrier(count)

    def run(i: int) -> T | BaseException:
        connections["default"].ensure_connection()
        start.wait(PATIENCE)
        try:
            return function(i)
        except Exception as error:
            return error

    with Elsewhere() as elsewhere:
        calls = [elsewhere.call(run, i) for i in range(count)]
        return [call.result(PATIENCE) for call in calls]


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "the other thread did not come so far"
