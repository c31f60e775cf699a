"""Follow-up tasks that are sent if, and only if, the effects they follow from are committed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery import Signature, current_app
from celery import signature as restore
from celery.result import AsyncResult
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from kombu.utils import json

from . import periods, store
from .conf import setting
from .exceptions import UnusableArgument
from .execution import Execution
from .steps import guard

logger = logging.getLogger("ledger")

_publishing: ContextVar[bool] = ContextVar("ledger_publishing", default=False)


def enqueue(execution: Execution, task: Signature[Any]) -> AsyncResult[Any]:
    """``Execution.enqueue``."""
    if not isinstance(task, Signature):
        raise UnusableArgument(
            f"{execution.key}: enqueue() takes a signature such as task.s(7), not a "
            f"{type(task).__name__}."
        )
    task = task.clone()
    headers = {
        periods.PERIOD_HEADER: periods.today().isoformat(),
        **task.options.get("headers", {}),
    }
    task.set(headers=headers)
    result: AsyncResult[Any] = task.freeze()
    name, task_id = str(task.task), str(result.id)
    if execution.id is None:  # unprotected: there is no table to put it into
        with _by_the_outbox():
            task.apply_async()
        return result
    try:
        message = json.dumps(task)
    except (TypeError, ValueError) as error:
        raise UnusableArgument(
            f"{execution.key}: the arguments of {name} cannot be sent as JSON: {error}"
        ) from error
    connection = connections[execution.database]
    with transaction.atomic(using=execution.database):
        if execution.guarantee != "exactly_once":
            guard(execution)
        row = store.enqueue(connection, execution.id, name, task_id, message)
        transaction.on_commit(lambda: publish(execution.database, [row]), execution.database, True)
    return result


def publish(database: str, rows: list[int]) -> int:
    """Publish these messages if they are still unpublished and nobody else is at it; how many were.

    A crash between the broker's and the database's word publishes a message again, with the same
    task id. A broker that cannot be reached leaves it to the relay.
    """
    connection = connections[database]
    published = 0
    with transaction.atomic(using=database):
        for id, message in store.lock_messages(connection, rows):
            error = _send(message)
            store.mark_published(connection, id, error)
            published += error is None
    return published


def relay(database: str = DEFAULT_DB_ALIAS) -> int:
    """Publish what a crash or an unreachable broker left behind; returns how many.

    Works in batches with SKIP LOCKED, so that several relays share the work; stops at the first
    batch in which nothing could be published.
    """
    connection = connections[database]
    total = 0
    while True:
        with transaction.atomic(using=database):
            rows = store.unpublished(connection, setting("RELAY_BATCH"), setting("RELAY_AFTER"))
        published = publish(database, rows) if rows else 0
        total += published
        if published < len(rows) or len(rows) < setting("RELAY_BATCH"):
            return total


def _send(message: str) -> str | None:
    """The error that kept the message from being published, or None."""
    try:
        with _by_the_outbox():
            restore(json.loads(message), app=current_app).apply_async(retry=False)
    except Exception as error:
        logger.exception("a follow-up could not be published; the relay will try again")
        return repr(error)
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
