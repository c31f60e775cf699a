"""Loaded by the workers of ``ledger_worker`` alone: dies where a message says so.

It watches the ledger's and Celery's signals, and wraps the two places that send none.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery.signals import task_postrun

from .. import store
from ..call import Call
from ..signals import execution_started
from .crashes import HEADER

_ended = threading.local()
"""``call``: the call whose body ended last in this thread, and which will therefore be completed
next."""


def reached(point: str, headers: Mapping[str, Any] | None) -> None:
    """Kill this process if the message says so and has not yet done it often enough."""
    wanted = (headers or {}).get(HEADER)
    if wanted and wanted["at"] == point and _is_next(wanted):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_next(wanted: Mapping[str, Any]) -> bool:
    for number in range(wanted["times"]):
        try:
            mark = Path(wanted["folder"], f"{wanted['message']}-{number}")
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        except FileNotFoundError:  # the test that asked is over
            return False
        return True
    return False


def _started(call: Call, **signal: Any) -> None:
    reached("after_claim", call.delivery.headers)


def _before_ack(task: Any, **signal: Any) -> None:
    reached("before_ack", task.request.headers)


def _wrap() -> None:
    body, complete = Call.body, store.complete

    def body_and_crash(call: Call) -> Any:
        result = body(call)
        _ended.call = call
        reached("in_body", call.delivery.headers)
        return result

    def complete_and_crash(*args: Any, joined: bool) -> None:
        headers = _ended.call.delivery.headers
        reached("before_commit", headers)
        complete(*args, joined=joined)
        reached("after_commit", headers)

    setattr(Call, "body", body_and_crash)  # noqa: B010  typed, it could not be replaced
    setattr(store, "complete", complete_and_crash)  # noqa: B010


execution_started.connect(_started, dispatch_uid=__name__, weak=False)
task_postrun.connect(_before_ack, dispatch_uid=__name__, weak=False)
_wrap()
