"""Effects are outside and must never repeat: a bank transfer without an idempotency key.

A crash in the body holds the execution for a person (``Options.max_crashes`` is 0). So does a
failure, unless its exception is one of ``safe_to_retry``, which promise that nothing took effect;
``self.retry(exc=error)`` counts as that error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.exceptions import Retry

from . import durable

if TYPE_CHECKING:
    from ..call import Call


def run(call: Call) -> Any:
    safe = call.protected.options.safe_to_retry

    def state_after(failure: BaseException) -> str:
        reasons = (failure, failure.exc) if isinstance(failure, Retry) else (failure,)
        return "failed" if any(isinstance(reason, safe) for reason in reasons) else "held"

    return durable.run(call, state_after)
