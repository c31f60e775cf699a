"""Messages that kill the process that runs them, at a chosen point of the protocol."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery.signals import before_task_publish

POINTS = ("after_claim", "in_body", "before_commit", "after_commit", "before_ack")

HEADER = "ledger_crash"
"""Header of a message that ``crashing`` obeys, in a worker that was told to."""

_folders: list[tempfile.TemporaryDirectory[str]] = []
"""Kept until this process ends: a worker may find its message after the block that published it."""


class Crash:
    """What became of the messages published in a block of ``crash_at``."""

    def __init__(self, point: str, folder: Path) -> None:
        self.point = point
        self._folder = folder
        self._expected = 0

    @property
    def happened(self) -> int:
        """How many processes have been killed so far."""
        return len(list(self._folder.iterdir()))

    def wait(self, timeout: float = 30) -> None:
        """Until all that were to die are dead. ``AssertionError`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.happened < self._expected:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.happened} of {self._expected} processes had reached {self.point!r} "
                    f"after {timeout} s. Only a worker of the fixture ledger_worker dies there."
                )
            time.sleep(0.02)


@contextmanager
def crash_at(point: str, *, times: int = 1) -> Iterator[Crash]:
    """Let every message that this process publishes in the block kill the worker process that runs
    it, with SIGKILL, on its first ``times`` deliveries.

    ``point``: ``"after_claim"``, claimed and locked, before the body; ``"in_body"``, when the body
    has done all it does; ``"before_commit"``, when its result is about to be recorded and
    committed; ``"after_commit"``, before anything else is done, follow-ups included;
    ``"before_ack"``, when Celery has stored the result. Only a worker of ``ledger_worker`` obeys:
    a process of its pool dies, or with another pool than prefork the whole worker.
    """
    if point not in POINTS:
        raise ValueError(f"point={point!r}: a worker can crash at {', '.join(POINTS)}.")
    _folders.append(tempfile.TemporaryDirectory(prefix="ledger-crash-"))
    folder = Path(_folders[-1].name)
    crash = Crash(point, folder)

    def mark(headers: dict[str, Any], **signal: Any) -> None:
        headers[HEADER] = {
            "at": point, "times": times, "folder": str(folder), "message": uuid4().hex
        }  # fmt: skip
        crash._expected += times

    before_task_publish.connect(mark, weak=False)
    try:
        yield crash
    finally:
        before_task_publish.disconnect(mark)
