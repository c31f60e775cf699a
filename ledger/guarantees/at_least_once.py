"""Effects are outside, and harmless or deduplicated when repeated: an e-mail, a provider that takes
``current_execution().idempotency_key``, a long job made of steps.

A crash and a failure in the body mean that the next delivery runs it again; steps already done are
not repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import durable

if TYPE_CHECKING:
    from ..call import Call


def run(call: Call) -> Any:
    return durable.run(call, state_after=lambda failure: "failed")
