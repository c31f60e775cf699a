"""Runs that completed while the ledger was unreachable (``on_ledger_error="run"``). Until it is
back they answer this process's duplicates, then they are recorded, if the process still lives."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, connections

from . import results, store

if TYPE_CHECKING:
    from .call import Call

MOST = 1000
"""Runs remembered at once; beyond that the oldest are forgotten, and were logged as unprotected."""

PAUSE = 1.0
"""Seconds between two tries."""

logger = logging.getLogger("ledger")

_waiting: deque[tuple[Call, str, float]] = deque(maxlen=MOST)
"""Calls, their results, and when they ended (``time.monotonic``)."""

_thread: threading.Thread | None = None
_guard = threading.Lock()


def record(call: Call, result: object) -> None:
    """Remember a run, and record it from a thread of its own as soon as that can be done."""
    global _thread
    text = results.dump(call.delivery.task_name, result, "It ran unprotected, and is not recorded.")
    with _guard:
        _waiting.append((call, text, time.monotonic()))
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_record_all, name="ledger-afterwards", daemon=True)
            _thread.start()


def answer(call: Call) -> str | None:
    """The result of a run of this key that this process remembers, and has not expired."""
    with _guard:
        for run, result, ended in _waiting:
            if (run.key, run.database) == (call.key, call.database):
                ttl = run.ttl
                if ttl is None or time.monotonic() - ended < ttl.total_seconds():
                    return result
    return None


def _record_all() -> None:
    """Ends in the same moment in which it finds nothing, or a run remembered then would wait."""
    global _thread
    try:
        while True:
            with _guard:
                if not _waiting:
                    _thread = None
                    return
                run = _waiting[0]
            _record(*run[:2])
            with _guard:
                if run in _waiting:  # or it was forgotten meanwhile
                    _waiting.remove(run)
    finally:
        connections.close_all()


def _record(call: Call, result: str) -> None:
    while True:
        try:
            store.record_late(connections[call.database], call, result)
        except (OperationalError, InterfaceError):
            connections[call.database].close()
            time.sleep(PAUSE)
        except Exception:
            logger.exception("%s: its unprotected run cannot be recorded", call.key)
            return
        else:
            logger.warning(
                "%s: its unprotected run is now recorded", call.key, extra={"ledger_key": call.key}
            )
            return
