"""One file for each guarantee; each has ``run(call)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..exceptions import LostClaim
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
    guarantee = call.protected.options.guarantee
    try:
        return _RUN[guarantee](call)
    except SkippedInProgress:
        return None
    except LostClaim as lost:
        if guarantee != "at_most_once":  # where a copy might repeat what stands
            call.delivery.put_back(lost)  # or nobody has the work, should the other run die as well
        raise
