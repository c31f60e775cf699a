"""Effects are outside and must never repeat: a bank transfer without an idempotency key.

A crash in the body holds the execution for a person (``Options.max_crashes`` is 0). So does a
failure, unless its exception is one of ``safe_to_retry``, which promise that nothing took effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import durable

if TYPE_CHECKING:
    from ..call import Call


def run(call: Call) -> Any:
    safe = call.protected.options.safe_to_retry
    return durable.run(
        call, state_after=lambda failure: "failed" if isinstance(failure, safe) else "held"
    )
