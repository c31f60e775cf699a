"""One file for each guarantee; each has ``run(call)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import SkippedInProgress, refuse_recursion
from . import at_least_once, at_most_once, exactly_once

if TYPE_CHECKING:
    from ..call import Call

_RUN = {
    "exactly_once": exactly_once.run,
    "at_least_once": at_least_once.run,
    "at_most_once": at_most_once.run,
}


def run(call: Call) -> Any:
    """Answer, run or refuse one delivery, by the guarantee of its task."""
    refuse_recursion(call)
    try:
        return _RUN[call.protected.options.guarantee](call)
    except SkippedInProgress:
        return None
