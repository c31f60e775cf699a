"""Effects are outside the database: a durable claim and a durable completion around a body that
keeps Django's ordinary autocommit. The run lock waits on a connection of its own.

What a crash and a failure mean, ``at_least_once`` and ``at_most_once`` say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connections

from .. import log, protocol, recent, results, run_lock, store
from ..conf import setting
from ..exceptions import LostClaim, OpenTransaction
from ..execution import Execution, executing
from ..protocol import OUTAGES, Looks, Unreachable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection

    from ..call import Call


def run(call: Call, state_after: Callable[[BaseException], str]) -> Any:
    """Answer, run or refuse one delivery. ``state_after`` a failure: ``failed`` or ``held``."""
    if connections[call.database].in_atomic_block:
        raise OpenTransaction(
            f"{call.key}: guarantee={call.protected.options.guarantee!r} commits its claim before "
            f"the body, but a transaction is already open on {call.database!r}. Call it outside of "
            "atomic() and ATOMIC_REQUESTS (in a test: transaction=True), or send it with "
            "transaction.on_commit()."
        )
    line = run_lock.connection_for(call.database)
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
    if live.attempt > 1 and live.crashes:
        log.taken_over(call, live.attempt)
    log.started(call, live.attempt)
    try:
        with executing(Execution(call, live.attempt, live.id)):
            result = call.body()
        text = results.dump(call.delivery.task_name, result)
    except BaseException as raised:
        failure, state = raised, state_after(raised)
        log.failed(call, live.attempt, failure)
        try:
            _record(call, line, live, lambda: store.fail(line, call, live, failure, state=state))
        except (Unreachable, LostClaim) as unrecorded:
            log.unrecorded(call, live.attempt, unrecorded)
        if state == "held":
            log.held(call)
        raise
    _record(call, line, live, lambda: store.complete(line, live, text, call.ttl, joined=False))
    log.completed(call, live.attempt)
    recent.remember(call.database, call.key)
    return result


def _record(call: Call, line: Connection, live: store.Live, record: Callable[[], None]) -> None:
    """Record how the body ended, while its lock is held. Where the lock's connection was lost, on a
    new one, if the attempt is still ours: for some time, because what is not recorded is run again,
    or held."""
    try:
        record()
        line.connection.commit()
        return
    except OUTAGES as error:
        cause: BaseException = error
    except DatabaseError as error:
        if store.is_lost_claim(error):
            _lost(call, line, live, error)
        raise
    until = time.monotonic() + setting("RECONNECT_SECONDS")
    pause = 0.05
    while time.monotonic() < until:
        line.close()
        try:
            now = store.lock_again(line, call, joined=False, claimed=live.attempt)
            if now.is_ours:
                record()
                line.connection.commit()
                return
            if now.id == live.id and now.attempt == live.attempt and now.state != "running":
                if now.state == "completed":  # the commit had arrived, its answer had not
                    return
                _lost(call, line, live, cause)
            if now.id != live.id or now.attempt != live.attempt:
                _lost(call, line, live, cause)
        except OUTAGES as error:
            cause = error
        time.sleep(pause)
        pause = min(pause * 2, 1.0)
    raise Unreachable(cause, began=True) from cause


def _lost(call: Call, line: Connection, live: store.Live, error: BaseException) -> None:
    _unlock(line)
    with suppress(*OUTAGES):
        store.record(line, call, live, "lost_claim", f"its body had ended: {error}")
    log.lost_claim(call, live.attempt)
    raise LostClaim(
        f"{call.key}: attempt {live.attempt} ended, but was no longer the running one: the "
        "connection that held its lock was lost, and another delivery took over or held it. What "
        "it did outside the database stands; see the execution's events."
    ) from error


def _unlock(line: Connection) -> None:
    """End the lock's transaction, whatever state it is in."""
    if line.connection is None:
        return
    try:
        line.connection.rollback()
    except Exception:
        line.close()
