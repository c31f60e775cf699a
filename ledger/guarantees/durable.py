"""Effects are outside the database: a durable claim and a durable completion around a body that
keeps Django's ordinary autocommit. The run lock waits on a connection of its own.

What a crash and a failure mean, ``at_least_once`` and ``at_most_once`` say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import DatabaseError, Error, connections
from psycopg.pq import TransactionStatus

from .. import log, protocol, recent, results, run_lock, store
from ..conf import setting
from ..exceptions import LedgerUnavailable, LostClaim, OpenTransaction
from ..execution import Execution, executing
from ..protocol import OUTAGES, Looks, Unreachable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection

    from ..call import Call

CONNECTION_LOST = ("08", "57P")
"""SQLSTATEs of connections that fail and of servers that shut down; the driver's own have none."""

NO_TRANSACTION = (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)


def run(call: Call, state_after: Callable[[BaseException], str]) -> Any:
    """Answer, run or refuse one delivery. ``state_after`` a failure: ``failed`` or ``held``."""
    _refuse_open_transaction(call)
    with run_lock.borrowed(call.database) as line:
        was_open = line.connection is not None
        try:
            try:
                return _deliver(call, line, state_after)
            except Unreachable as outage:
                if outage.began or not was_open:
                    raise
            line.close()  # it had gone stale while idle; nothing has begun, so a new one may try
            return _deliver(call, line, state_after)
        except Unreachable as outage:
            return protocol.unreachable(call, outage.cause, began=outage.began)
        finally:
            _unlock(line)


def _refuse_open_transaction(call: Call) -> None:
    connection = connections[call.database]
    driver = connection.connection
    if connection.in_atomic_block or (
        driver is not None and driver.pgconn.transaction_status not in NO_TRANSACTION
    ):
        raise OpenTransaction(
            f"{call.key}: guarantee={call.protected.options.guarantee!r} commits its claim before "
            f"the body, but a transaction is already open on {call.database!r}. Call it outside of "
            "atomic() and ATOMIC_REQUESTS (in a test: transaction=True), or send it with "
            "transaction.on_commit()."
        )


def _deliver(call: Call, line: Connection, state_after: Callable[[BaseException], str]) -> Any:
    opening: protocol.Opening = store.claim
    looks = Looks(call)
    while True:
        try:
            live = opening(line, call, joined=False)
        except OUTAGES as error:
            raise Unreachable(error, began=False) from error
        if live.is_ours:
            return _perform(call, line, live, state_after)
        _unlock(line)
        if live.is_answer:
            recent.remember(call.database, call.key)
            return protocol.replay(call, live.result)
        opening = looks.next_opening(live)


def _perform(
    call: Call, line: Connection, live: store.Live, state_after: Callable[[BaseException], str]
) -> Any:
    _drop_stale_connection(call)
    if live.attempt > 1 and live.crashes:
        log.taken_over(call, live.attempt)
    log.started(call, live.attempt)
    try:
        execution = Execution(call, live.attempt, live.id)
        with executing(execution):
            result = call.body()
        text = results.dump(call.delivery.task_name, result, "It ran and is not undone.")
    except BaseException as failure:
        state = state_after(failure)
        _fail(call, line, live, failure, state)
        if _is_outage(failure):
            _drop_stale_connection(call)
            if state == "failed":
                raise Unreachable(failure, began=True) from failure
        raise

    def complete() -> None:
        store.complete(line, live, text, call.ttl, execution._wrote, joined=False)

    if not _settle(call, line, live, complete, settled="completed"):
        _lost(call, line, live, text)
    log.completed(call, live.attempt)
    recent.remember(call.database, call.key)
    return result


def _fail(
    call: Call, line: Connection, live: store.Live, failure: BaseException, state: str
) -> None:
    """Record a failure. Nothing that happens meanwhile hides it from the caller."""
    log.failed(call, live.attempt, failure)

    def fail() -> None:
        store.fail(line, call, live, failure, state=state)

    try:
        if not _settle(call, line, live, fail, settled=None):
            _unlock(line)
            fail()  # changes no row any more, but says in its story how this attempt ended
        elif state == "held":
            log.held(call)
    except (Unreachable, Error) as unrecorded:
        log.unrecorded(call, live.attempt, unrecorded)


def _drop_stale_connection(call: Call) -> None:
    """The body's own connection, where it was lost: nothing else would drop it, and whatever this
    process runs next would fail."""
    connection = connections[call.database]
    if connection.connection is not None and not connection.is_usable():
        connection.close()


def _is_outage(failure: BaseException) -> bool:
    """The body failed because a connection was lost, or could not be had. That is no failure of the
    task's: it would acknowledge the message, and lose the work."""
    if isinstance(failure, LedgerUnavailable):
        return True
    cause = failure.__cause__
    return (
        isinstance(failure, OUTAGES)
        and isinstance(cause, psycopg.Error)
        and (cause.sqlstate is None or cause.sqlstate.startswith(CONNECTION_LOST))
    )


def _settle(
    call: Call,
    line: Connection,
    live: store.Live,
    settle: Callable[[], None],
    *,
    settled: str | None,
) -> bool:
    """Record how the body ended, while its lock is held. Where the lock's connection was lost, on a
    new one, if the attempt is still ours: for some time, because what is not recorded is run again,
    or held. False where it is no longer ours, nor ``settled``: a commit may have arrived although
    its answer was lost."""
    until = time.monotonic() + setting("RECONNECT_SECONDS")
    pause = 0.05
    locked = True
    cause: BaseException = LostClaim(f"{call.key}: somebody else holds its lock")
    while True:
        try:
            if locked:
                settle()
                with line.wrap_database_errors:
                    line.connection.commit()
                return True
            now = store.lock_again(line, call, mine=live, joined=False)
            if (now.id, now.attempt) != (live.id, live.attempt):
                return False
            if now.state != "running":
                return now.state == settled
            locked = now.locked
            if locked:
                continue
        except OUTAGES as error:
            cause, locked = error, False
        except DatabaseError as error:
            if store.is_lost_claim(error):
                return False
            raise
        if time.monotonic() >= until:
            raise Unreachable(cause, began=True) from cause
        line.close()
        time.sleep(pause)
        pause = min(pause * 2, 1.0)


def _lost(call: Call, line: Connection, live: store.Live, result: str) -> None:
    """Its body has completed, and somebody had taken it for dead."""
    _unlock(line)
    with suppress(Error):
        story = f"its body has completed all the same; it returned {result:.2000}"
        store.record(line, call, live, "lost_claim", story)
    log.lost_claim(call, live.attempt)
    raise LostClaim(
        f"{call.key}: attempt {live.attempt} has completed, but was no longer the running one: the "
        "connection that held its lock was lost, and another delivery took over, or held it. What "
        "it did outside the database stands; see the execution's events."
    )


def _unlock(line: Connection) -> None:
    """End the lock's transaction, whatever state it is in."""
    if line.connection is None:
        return
    try:
        line.connection.rollback()
    except Exception:
        line.close()
