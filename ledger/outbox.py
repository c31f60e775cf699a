"""Follow-up tasks that are sent if, and only if, the effects they follow from are committed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from celery import Signature, current_app
from celery import signature as restore
from celery.result import AsyncResult
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from kombu.exceptions import OperationalError as Unreachable
from kombu.utils import json

from . import periods, readable, store
from .conf import setting
from .exceptions import LedgerError, UnusableArgument
from .steps import guard

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection

    from .execution import Execution

logger = logging.getLogger("ledger")

_publishing: ContextVar[bool] = ContextVar("ledger_publishing", default=False)


def enqueue(execution: Execution, task: Signature[Any]) -> AsyncResult[Any]:
    """``Execution.enqueue``."""
    if not isinstance(task, Signature):
        raise UnusableArgument(
            f"{execution.key}: enqueue() takes a signature such as task.s(7), not a "
            f"{type(task).__name__}."
        )
    task = restore(json.loads(_dump(execution, task)), app=current_app)  # a copy, links and all
    _pin(task, periods.stamp())
    result: AsyncResult[Any] = task.freeze()
    if execution.id is None:  # unprotected: there is no table to put it into
        with _by_the_outbox():
            task.apply_async()
        return result
    connection = connections[execution.database]
    with transaction.atomic(using=execution.database):
        if execution.guarantee != "exactly_once":
            guard(execution)
        row = store.enqueue(
            connection, execution.id, str(task.task), str(result.id), _dump(execution, task)
        )
        execution.unpublished.append(row)
        transaction.on_commit(lambda: _publish_all(execution), execution.database, True)
    return result


def _publish_all(execution: Execution) -> None:
    """All that one commit let go, in one transaction; whoever enqueued next finds nothing left."""
    rows, execution.unpublished = execution.unpublished, []
    if rows:
        publish(execution.database, rows)


def _dump(execution: Execution, task: Signature[Any]) -> str:
    try:
        text: str = json.dumps(task, allow_nan=False)  # which no json column takes
    except (TypeError, ValueError) as error:
        raise UnusableArgument(
            f"{execution.key}: the arguments of {task.task} cannot be sent as JSON: {error}"
        ) from error
    return text


def _pin(task: Signature[Any], period: str) -> None:
    """The period of a whole canvas, whose later parts a worker publishes in another one."""
    task.set(headers={periods.PERIOD_HEADER: period, **(task.options.get("headers") or {})})
    for part in (*getattr(task, "tasks", ()), getattr(task, "body", None)):
        if isinstance(part, Signature):
            _pin(part, period)


def publish(database: str, ids: list[int]) -> int:
    """Publish these messages if they are still unpublished and nobody else is at it; how many were.

    A crash between the broker's and the database's word publishes a message again, with the same
    task id. A broker that cannot be reached leaves it to the relay.
    """
    connection = connections[database]
    with transaction.atomic(using=database):
        return _publish(connection, store.lock_messages(connection, ids))[0]


def relay(database: str = DEFAULT_DB_ALIAS) -> int:
    """Publish what a crash or an unreachable broker left behind; returns how many.

    Works in batches with SKIP LOCKED, so that several relays share the work. Each message is tried
    once, so that one that no broker takes keeps no other back; an unreachable broker ends it.
    """
    if not _reaches_the_broker():
        return 0
    connection = connections[database]
    batch, after = setting("RELAY_BATCH"), setting("RELAY_AFTER")
    total, last = 0, ("-infinity", 0)
    while True:
        with transaction.atomic(using=database):
            rows = store.unpublished(connection, batch, after, *last)
            published, reachable = _publish(connection, [(id, text) for id, text, _ in rows])
        total += published
        if not reachable or len(rows) < batch:
            return total
        last = (rows[-1][2], rows[-1][0])


def discard(id: int, *, reason: str, actor: str = "", database: str = DEFAULT_DB_ALIAS) -> None:
    """Give up a follow-up that no broker takes: it is kept, and is never published. Recorded as an
    event of the execution that it follows, with ``reason`` and ``actor``. ``LedgerError`` where it
    is published, was given up, or is not there."""
    if not reason.strip():
        raise LedgerError("reason= is required: it is what an auditor reads.")
    who, why = readable.text(actor, 255), readable.text(reason)
    connection = connections[database]
    with transaction.atomic(using=database):
        found = store.discard(connection, id, why)
        if found is None:
            raise LedgerError(
                f"There is no follow-up {id} that waits to be published: see published_at and "
                "error in ledger_outboxmessage."
            )
        execution, attempt, name = found
        store.note(connection, execution, "discarded", attempt, who, f"{name}: {why}")


def _publish(connection: Connection, messages: list[tuple[int, str]]) -> tuple[int, bool]:
    """Publish messages that the open transaction has locked: how many it could, and whether the
    broker could be reached."""
    published, reachable = [], True
    for id, message in messages:
        error = _send(message)
        if error is None:
            published.append(id)
            continue
        store.mark_tried(connection, id, repr(error))
        if isinstance(error, Unreachable):
            reachable = False
            break
    if published:
        store.mark_published(connection, published)
    return len(published), reachable


def _reaches_the_broker() -> bool:
    """Asked once, because each message would take seconds to find it out."""
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0)
    except Exception:
        logger.exception("the broker cannot be reached; follow-ups wait")
        return False
    return True


def _send(message: str) -> Exception | None:
    """What kept the message from being published, if anything."""
    try:
        with _by_the_outbox():
            restore(json.loads(message), app=current_app).apply_async(retry=False)
    except Exception as error:
        logger.exception("a follow-up could not be published; the relay will try again")
        return error
    return None


def is_publishing() -> bool:
    """Whether the message being published here comes from the outbox."""
    return _publishing.get()


@contextmanager
def _by_the_outbox() -> Iterator[None]:
    token = _publishing.set(True)
    try:
        yield
    finally:
        _publishing.reset(token)
