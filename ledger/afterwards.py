"""Runs that completed while the ledger was unreachable (``on_ledger_error="run"``), recorded when
it is back, if the process still lives."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from django.db import Error, connections

from . import results, store

if TYPE_CHECKING:
    from .call import Call

MOST = 1000
"""Runs remembered at once; beyond that the oldest are forgotten, and were logged as unprotected."""

PAUSE = 1.0
"""Seconds between two tries."""

logger = logging.getLogger("ledger")

_waiting: deque[tuple[Call, str]] = deque(maxlen=MOST)
_thread: threading.Thread | None = None
_guard = threading.Lock()


def record(call: Call, result: object) -> None:
    """Remember a run, and record it from a thread of its own as soon as that can be done."""
    global _thread
    _waiting.append((call, results.dump(call.delivery.task_name, result)))
    with _guard:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_drain, name="ledger-afterwards", daemon=True)
            _thread.start()


def _drain() -> None:
    while _waiting:
        call, result = _waiting[0]
        try:
            store.record_late(connections[call.database], call, result)
            logger.warning(
                "%s: its unprotected run is now recorded", call.key, extra={"ledger_key": call.key}
            )
        except Error:
            connections[call.database].close()
            time.sleep(PAUSE)
            continue
        except Exception:
            logger.exception("%s: its unprotected run cannot be recorded", call.key)
        _waiting.popleft()
    connections.close_all()
