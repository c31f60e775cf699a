"""Effects are rows in this database: the body runs inside the ledger's own transaction.

A crash rolls everything back and the next delivery runs it; a failure is rolled back, recorded, and
the next delivery runs it; completion commits together with the effects. Called with a transaction
already open on that connection, the run joins it, and commits or vanishes with it.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from django.db import InterfaceError, OperationalError, connections, transaction
from psycopg.pq import TransactionStatus

from .. import log, protocol, readable, recent, results, store
from ..exceptions import ExecutionInProgress, LostClaim
from ..execution import Execution, executing, is_running_here

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection

    from ..call import Call

OUTAGES = (OperationalError, InterfaceError)


class _Unreachable(Exception):
    """The connection was lost, or could not be had. ``began``: after the body had started."""

    def __init__(self, cause: BaseException, *, began: bool) -> None:
        self.cause = cause
        self.began = began


def run(call: Call) -> Any:
    """Answer, run or refuse one delivery."""
    if is_running_here(call.key, call.database):
        raise ExecutionInProgress(
            f"{call.key} called itself. Its body must not wait for its own completion."
        )
    connection = connections[call.database]
    if connection.in_atomic_block:
        try:
            return _joined(call, connection)
        except _Unreachable as outage:  # the caller's transaction is gone with it
            return protocol.unreachable(call, outage.cause, began=True)
    was_open = connection.connection is not None
    try:
        return _deliver(call, connection)
    except _Unreachable as outage:
        if outage.began or not was_open:
            return protocol.unreachable(call, outage.cause, began=outage.began)
    connection.close()  # it had gone stale while idle; nothing has begun, so a new one may try
    try:
        return _deliver(call, connection)
    except _Unreachable as outage:
        return protocol.unreachable(call, outage.cause, began=outage.began)


def _deliver(call: Call, connection: Connection) -> Any:
    if call.delivery.is_probably_duplicate or recent.knows(call.database, call.key):
        try:
            answer = store.answer(connection, call)
        except OUTAGES as error:
            raise _Unreachable(error, began=False) from error
        if answer is not None:
            return protocol.replay(call, answer)

    opening: protocol.Opening = store.claim
    for look in range(1, protocol.MOST_LOOKS + 1):
        progress = _Progress()
        try:
            with transaction.atomic(using=call.database):
                live = progress.live = opening(connection, call, joined=False)
                if live.is_ours:
                    result = _perform(call, connection, live, progress, joined=False)
        except BaseException as raised:
            _undone(call, connection, progress, raised)
        if live.is_ours:
            log.completed(call, live.attempt)
            recent.remember(call.database, call.key)
            return result
        if live.is_answer:
            recent.remember(call.database, call.key)
            return protocol.replay(call, live.result)
        opening = protocol.next_opening(call, live, look)
    raise AssertionError("next_opening leaves at the last look")


def _joined(call: Call, connection: Connection) -> Any:
    """Within the caller's transaction. The body runs in a savepoint, so that a failure can be
    recorded where the caller catches it and goes on."""
    opening: protocol.Opening = store.claim
    for look in range(1, protocol.MOST_LOOKS + 1):
        progress = _Progress()
        try:
            live = progress.live = opening(connection, call, joined=True)
        except OUTAGES as error:
            raise _Unreachable(error, began=False) from error
        if live.is_answer:
            return protocol.replay(call, live.result)
        if live.is_ours:
            try:
                with transaction.atomic(using=call.database):
                    result = _perform(call, connection, live, progress, joined=True)
            except BaseException as raised:
                _undone(call, connection, progress, raised)
            log.completed(call, live.attempt)
            return result
        opening = protocol.next_opening(call, live, look)
    raise AssertionError("next_opening leaves at the last look")


class _Progress:
    """How far a delivery came, for deciding what an exception means."""

    live: store.Live | None = None
    failure: BaseException | None = None
    connection_lost = False
    committed = False


def _perform(
    call: Call, connection: Connection, live: store.Live, progress: _Progress, *, joined: bool
) -> Any:
    """The body, then its completion. Whatever is raised rolls the effects back."""
    driver = connection.connection
    if live.attempt > 1 and live.crashes:
        log.taken_over(call, live.attempt)
    log.started(call, live.attempt)
    try:
        with executing(Execution(call.key, live.attempt, call.period, call.database, live.id)):
            result = call.body()
        text = results.dump(call.delivery.task_name, result)
        if connection.needs_rollback:
            raise transaction.TransactionManagementError(
                f"{call.key}: the body left its transaction broken: it closed the connection, or "
                "caught a database error outside of an atomic() block of its own. Wrap the failing "
                "statement in one."
            )
        if driver.pgconn.transaction_status == TransactionStatus.IDLE:
            raise transaction.TransactionManagementError(
                f"{call.key}: the body ended the transaction it ran in, so that what it did could "
                "not be undone. Leave COMMIT and ROLLBACK to the ledger."
            )
    except BaseException as failure:
        progress.failure = failure
        progress.connection_lost = driver.broken
        raise
    store.complete(connection, live, text, call.ttl, joined=joined)
    progress.committed = not joined
    return result


def _undone(
    call: Call, connection: Connection, progress: _Progress, raised: BaseException
) -> NoReturn:
    """The transaction was rolled back, or never began: say what that means, and record it."""
    live, failure = progress.live, progress.failure
    if live is None or not live.is_ours:
        if isinstance(raised, OUTAGES):
            raise _Unreachable(raised, began=False) from raised
        raise raised
    if progress.committed:  # an on_commit hook of the body's; the execution itself is completed
        log.completed(call, live.attempt)
        raise raised
    if store.is_lost_claim(raised):
        store.record(connection, call, live, "lost_claim", str(raised))
        log.lost_claim(call, live.attempt)
        raise LostClaim(
            f"{call.key}: attempt {live.attempt} was no longer running when it completed, so "
            "everything it did was rolled back. Somebody took it over or changed the row by hand."
        ) from raised
    if progress.connection_lost or (failure is None and isinstance(raised, OUTAGES)):
        raise _Unreachable(failure or raised, began=True) from raised
    error = failure or raised
    _record_failure(call, connection, live, error)
    raise error


def _record_failure(
    call: Call, connection: Connection, live: store.Live, error: BaseException
) -> None:
    """Failures are never cached: the state says that the next delivery may run it."""
    log.failed(call, live.attempt, error)
    story = readable.text("".join(traceback.format_exception(error)))
    try:
        store.fail(connection, call, live, readable.error(error), story)
    except OUTAGES as outage:
        log.unrecorded(call, live.attempt, outage)
