"""What every guarantee decides in the same way, from a live row that is not the caller's to run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from django.db import InterfaceError, OperationalError

from . import afterwards, log, results, store
from .conf import setting
from .exceptions import (
    DuplicateExecution,
    ExecutionHeld,
    ExecutionInProgress,
    LedgerUnavailable,
    PayloadMismatch,
)
from .execution import Execution, executing, is_running_here

if TYPE_CHECKING:
    from .call import Call

OUTAGES = (OperationalError, InterfaceError)

SECOND_LOOK = 0.25
"""Seconds before a running row with a free lock counts as abandoned. Between the commit of a claim
and the lock of its run, and between a rollback and the record of the failure, a living worker looks
like a dead one: for some 0.1 ms, longer on a loaded machine. Taking over from it would be safe, but
would count a crash that never was."""

MOST_LOOKS = 8
"""Then somebody else is busy with the key, and the delivery is treated as in progress."""

Opening = Callable[..., store.Live]


class Unreachable(Exception):
    """The connection was lost, or could not be had. ``began``: after the body had started."""

    def __init__(self, cause: BaseException, *, began: bool) -> None:
        self.cause = cause
        self.began = began


class SkippedInProgress(Exception):
    """``on_in_progress="skip"``: leave this delivery without a result."""


def refuse_recursion(call: Call) -> None:
    if is_running_here(call.key, call.database):
        raise ExecutionInProgress(
            f"{call.key} called itself. Its body must not wait for its own completion."
        )


class Looks:
    """One delivery's looks at a row that is not its to run."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.left = MOST_LOOKS
        self.waiting_until: float | None = None

    def next_opening(self, live: store.Live) -> Opening:
        """How to try again, after a pause where one is due, or the exception that says why not."""
        refuse_other_payload(self.call, live)
        if live.state == "held":
            held(self.call, live)
        self.left -= 1
        if not self.left:
            return self._in_progress()
        if live.is_claimed:  # and somebody looks at it
            time.sleep(SECOND_LOOK / 10)
            return partial(store.lock_again, mine=live)
        if live.is_orphan:
            time.sleep(SECOND_LOOK)
            return partial(store.take_over, orphan=live)
        if live.locked or live.state == "completed":  # settled since the claim's look
            return store.claim
        return self._in_progress()

    def _in_progress(self) -> Opening:
        """Another run of this execution is alive: ``on_in_progress`` decides."""
        choice = self.call.protected.options.on_in_progress
        if choice == "wait" and self._may_wait():
            return store.claim
        log.in_progress(self.call)
        if choice == "skip":
            raise SkippedInProgress
        error = ExecutionInProgress(
            f"{self.call.key} is being executed by another worker at this moment. Try again when "
            "it is done."
        )
        if self.call.delivery.message is not None and choice != "raise":
            self.call.delivery.put_back(error)
        raise error

    def _may_wait(self) -> bool:
        now = time.monotonic()
        if self.waiting_until is None:
            self.waiting_until = now + setting("WAIT_SECONDS")
        if now >= self.waiting_until:
            return False
        time.sleep(WAIT_STEP)
        self.left = MOST_LOOKS
        return True


WAIT_STEP = 0.1
"""Seconds between two looks of ``on_in_progress="wait"``."""


def held(call: Call, live: store.Live) -> NoReturn:
    """It waits for a person, and so do its deliveries."""
    log.held(call)
    raise ExecutionHeld(
        f"{call.key} is held: its outcome is in doubt, or too many of its workers died "
        f"({live.crashes} in a row). Find out whether it took effect, then decide with "
        "'manage.py ledger release' or ledger.release()."
    )


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
    had already run, and is not run again here."""
    if call.protected.options.on_ledger_error == "run" and not began:
        if (known := afterwards.answer(call)) is not None:
            return replay(call, known)
        log.unprotected(call, error)
        with executing(Execution(call, 0, None)):
            result = call.body()
        afterwards.record(call, result)
        return result
    log.unreachable(call, error)
    outage = LedgerUnavailable(
        f"{call.key}: the ledger's database {call.database!r} could not be reached ({error}). "
        "Nothing is lost: run it again when the database is back."
    )
    if call.delivery.message is not None:
        call.delivery.put_back(outage)
    raise outage from error
