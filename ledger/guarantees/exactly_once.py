"""Effects are rows in this database: the body runs inside the ledger's own transaction.

A crash rolls everything back and the next delivery runs it; a failure is rolled back, recorded, and
the next delivery runs it; completion commits together with the effects. Called with a transaction
already open on that connection, the run joins it, and commits or vanishes with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.db import connections, transaction
from psycopg.pq import TransactionStatus

from .. import log, protocol, recent, results, store
from ..exceptions import LostClaim
from ..execution import Execution, executing
from ..protocol import OUTAGES, Looks, Unreachable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection

    from ..call import Call


def run(call: Call) -> Any:
    """Answer, run or refuse one delivery."""
    connection = connections[call.database]
    if _in_transaction(connection):
        try:
            return _joined(call, connection)
        except Unreachable as outage:  # the caller's transaction is gone with it
            return protocol.unreachable(call, outage.cause, began=True)
    was_open = connection.connection is not None
    try:
        return _deliver(call, connection)
    except Unreachable as outage:
        if outage.began or not was_open:
            return protocol.unreachable(call, outage.cause, began=outage.began)
    connection.close()  # it had gone stale while idle; nothing has begun, so a new one may try
    try:
        return _deliver(call, connection)
    except Unreachable as outage:
        return protocol.unreachable(call, outage.cause, began=outage.began)


def _in_transaction(connection: Connection) -> bool:
    """Whether the caller manages the transaction: ``atomic()``, or autocommit switched off."""
    if connection.in_atomic_block or not connection.settings_dict["AUTOCOMMIT"]:
        return True
    return connection.connection is not None and not connection.autocommit


def _deliver(call: Call, connection: Connection) -> Any:
    if call.delivery.is_probably_duplicate or recent.knows(call.database, call.key):
        try:
            answer = store.answer(connection, call)
        except OUTAGES as error:
            raise Unreachable(error, began=False) from error
        if answer is not None:
            return protocol.replay(call, answer)

    opening: protocol.Opening = store.claim
    looks = Looks(call)
    while True:
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
        opening = looks.next_opening(live)


def _joined(call: Call, connection: Connection) -> Any:
    """Within the caller's transaction. The body runs in a savepoint, so that a failure can be
    recorded where the caller catches it and goes on."""
    opening: protocol.Opening = store.claim
    looks = Looks(call)
    while True:
        progress = _Progress()
        try:
            live = progress.live = opening(connection, call, joined=True)
        except OUTAGES as error:
            raise Unreachable(error, began=False) from error
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
        opening = looks.next_opening(live)


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
        execution = Execution(call, live.attempt, live.id)
        with executing(execution):
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
    store.complete(connection, live, text, call.ttl, execution._wrote, joined=joined)
    progress.committed = not joined
    return result


def _undone(
    call: Call, connection: Connection, progress: _Progress, raised: BaseException
) -> NoReturn:
    """The transaction was rolled back, or never began: say what that means, and record it."""
    live, failure = progress.live, progress.failure
    if live is None or not live.is_ours:
        if isinstance(raised, OUTAGES):
            raise Unreachable(raised, began=False) from raised
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
        raise Unreachable(failure or raised, began=True) from raised
    error = failure or raised
    log.failed(call, live.attempt, error)
    try:
        store.fail(connection, call, live, error, state="failed")
    except OUTAGES as outage:
        log.unrecorded(call, live.attempt, outage)
    raise error
