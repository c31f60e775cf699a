"""What every guarantee decides in the same way, from a live row that is not the caller's to run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from . import log, results, store
from .exceptions import (
    DuplicateExecution,
    ExecutionHeld,
    ExecutionInProgress,
    LedgerUnavailable,
    PayloadMismatch,
)
from .execution import Execution, executing

if TYPE_CHECKING:
    from .call import Call

SECOND_LOOK = 0.05
"""Seconds before a running row with a free lock counts as abandoned. Between the commit of a claim
and the lock of its run, some 0.1 ms, a living worker looks like a dead one; taking over from it
would be safe, but would count a crash that never was."""

MOST_LOOKS = 8
"""Then somebody else is busy with the key, and the delivery is treated as in progress."""

Opening = Callable[..., store.Live]


def next_opening(call: Call, live: store.Live, look: int) -> Opening:
    """How to try again for a row that is not ours, or the exception that says why not."""
    refuse_other_payload(call, live)
    if live.state == "held":
        log.held(call)
        raise ExecutionHeld(
            f"{call.key} is held: too many of its workers died ({live.crashes} in a row), or its "
            "outcome is in doubt. Find out whether it took effect, then decide with "
            "'python manage.py ledger clear' (it may run again)."
        )
    if look == MOST_LOOKS:
        in_progress(call)
    if live.state == "running" and live.claimed == live.attempt:  # ours, but somebody looks at it
        time.sleep(SECOND_LOOK / 10)
        return partial(store.lock_again, claimed=live.claimed)
    if live.is_orphan:
        time.sleep(SECOND_LOOK)
        return partial(store.take_over, orphan=live)
    if live.locked or live.state == "completed":  # settled between the claim's look and this one
        return store.claim
    in_progress(call)


def in_progress(call: Call) -> NoReturn:
    """Another run of this execution is alive: ``on_in_progress`` decides."""
    log.in_progress(call)
    error = ExecutionInProgress(
        f"{call.key} is being executed by another worker at this moment. Try again when it is done."
    )
    if call.delivery.message is not None and call.protected.options.on_in_progress == "retry":
        call.delivery.put_back(error)
    raise error


def replay(call: Call, result: str | None) -> Any:
    """A duplicate's answer: the stored result, or, in strict mode, ``DuplicateExecution``."""
    log.skipped(call)
    value = results.load(result)
    if not call.protected.options.skip_on_duplicate:
        raise DuplicateExecution(call.key, value)
    return value


def refuse_other_payload(call: Call, live: store.Live) -> None:
    """With ``key=``, the arguments outside of the key must be those of the execution it names."""
    if live.id is None or live.args_hash == call.identity.args_hash:
        return
    if live.state == "failed" or live.expired:  # these bind nobody
        return
    raise PayloadMismatch(
        f"{call.key} was executed with other arguments than this call's. The key= of "
        f"{call.protected.qualified_name} must tell different work apart, or this call is wrong; "
        "to replace the execution, clear it first."
    )


def unreachable(call: Call, error: BaseException, *, began: bool) -> Any:
    """The ledger's database went away. Nothing was committed, or a next delivery will find that it
    was: not a failure, which would acknowledge the message and lose the work. ``began``: the body
    had
    already run, and is not run again here."""
    if call.protected.options.on_ledger_error == "run" and not began:
        log.unprotected(call, error)
        with executing(Execution(call.key, 0, call.period, call.database, None)):
            return call.body()
    log.unreachable(call, error)
    outage = LedgerUnavailable(
        f"{call.key}: the ledger's database {call.database!r} could not be reached ({error}). "
        "Nothing is lost: run it again when the database is back."
    )
    if call.delivery.message is not None:
        call.delivery.put_back(outage)
    raise outage from error
