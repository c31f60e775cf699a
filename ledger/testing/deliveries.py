"""One message delivered twice in this process, as a worker handles it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback  # type: ignore[attr-defined]
from celery import Task
from celery.app.routes import Router
from celery.worker.request import Request
from kombu import Connection, Exchange, Queue

from .. import results
from ..exceptions import DuplicateExecution
from ..protection import protecting
from ..signals import execution_started


def deliver_twice(task: Task[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Deliver one message of the task's twice, the second time as redelivered, and return what both
    deliveries returned.

    The message goes through Celery's own serialisation, request and tracer, so that arguments are
    what a worker would get, signals are sent, and the business date is pinned; no broker and no
    result backend are touched. What a delivery raises is raised: a strict task's
    ``DuplicateExecution``, or Celery's ``Retry`` where it was put back.
    """
    with _message(task, args, kwargs) as deliver:
        return deliver(), deliver()


def assert_runs_once(
    task: Task[..., Any],
    *args: Any,
    effects: Callable[[], object] | None = None,
    **kwargs: Any,
) -> Any:
    """Assert that of two deliveries of one message the first runs the body, and the second is
    answered with the same result; return that.

    ``effects``: what the task does in the world, measured, as in ``Payslip.objects.count``: the
    first delivery must change it, and the second must not.
    """
    name = getattr(task, "name", task)
    protected = protecting(task) if isinstance(task, Task) else None
    if protected is None:
        raise TypeError(f"{name!r} is not a Celery task under the ledger.")
    attempts: list[int] = []

    def started(attempt: int, **signal: Any) -> None:
        attempts.append(attempt)

    execution_started.connect(started, sender=protected.function)
    try:
        with _message(task, args, kwargs) as deliver:
            before = effects() if effects else None
            first = deliver()
            _insist(
                attempts,
                f"{name} did not run: an execution of this key is there already. Use other "
                "arguments, or clear it.",
            )
            between = effects() if effects else None
            try:
                second = deliver()
            except DuplicateExecution as refused:
                second = refused.result
            after = effects() if effects else None
    finally:
        execution_started.disconnect(started, sender=protected.function)
    _insist(len(attempts) == 1, f"{name} ran {len(attempts)} times for one message.")
    _insist(
        effects is None or between != before,
        f"effects() was {before!r} before and after {name} ran, so it measures nothing that the "
        "task does.",
    )
    _insist(
        after == between,
        f"effects() was {between!r} after the first delivery of {name}, and {after!r} after the "
        "second.",
    )
    stored = results.load(results.dump(str(name), first))
    _insist(second == stored, f"{name} returned {stored!r}, and to its duplicate {second!r}.")
    return first


def _insist(condition: object, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)


@contextmanager
def _message(
    task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[Callable[[], Any]]:
    """Publish to a broker in this process's memory; yields what delivers that message."""
    if not isinstance(task, Task):
        raise TypeError(f"{task!r} is not a Celery task, so no message can be delivered to it.")
    app = task.app
    name = f"ledger-testing-{uuid4().hex}"
    queue = Queue(name, Exchange(name), routing_key=name)
    with Connection("memory://") as broker:
        with _routed_as_asked(app):
            to_memory: dict[str, Any] = {"connection": broker, "queue": queue}
            task.apply_async(args, kwargs, ignore_result=True, **to_memory)
        message: Any = queue(broker.default_channel).get(no_ack=True)

        def deliver() -> Any:
            outcome = Request(message, app=app, hostname="worker@ledger-testing").execute()
            message.delivery_info["redelivered"] = True
            if isinstance(outcome, ExceptionInfo):
                error: Any = outcome.exception
                raise error.exc if isinstance(error, ExceptionWithTraceback) else error
            return outcome

        yield deliver


@contextmanager
def _routed_as_asked(app: Any) -> Iterator[None]:
    """Neither eager, which has no message, nor to where a ``ledger_worker`` listens."""
    eager, router = app.conf.task_always_eager, app.amqp.router
    app.conf.task_always_eager, app.amqp.router = False, Router()
    try:
        yield
    finally:
        app.conf.task_always_eager, app.amqp.router = eager, router
