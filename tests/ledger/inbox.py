"""Messages really published, then delivered in this process by Celery's own request and tracer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback  # type: ignore[attr-defined]
from celery.exceptions import Reject
from celery.worker.request import Request
from django.conf import settings
from kombu import Queue
from kombu.message import Message

from core.celery import app


class Inbox:
    """The test run's own queue; nobody else listens there."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Inbox]:
        with app.connection() as connection:
            queue = app.amqp.queues[settings.TEST_RUN](connection.default_channel)
            queue.declare()
            yield cls(queue)

    def take(self, **headers: Any) -> Arrived:
        """The next message, whatever its countdown says, as if published with these headers."""
        message = self.queue.get()
        assert message is not None, "no message is in the queue"
        message.headers.update(headers)
        return Arrived(message)

    @property
    def is_empty(self) -> bool:
        message = self.queue.get()
        if message is not None:
            message.requeue()
        return message is None


class Arrived:
    """One message in a worker's hands: ``run`` it, ``lose`` it (the broker delivers it again)."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.request = Request(message, app=app, hostname="worker@test")
        self.headers: dict[str, Any] = dict(message.headers)

    def run(self) -> Any:
        """What the task returned, or the exception that it failed or left with.

        Then the message is acknowledged or rejected, as a worker with late acknowledgement does it.
        """
        outcome = self.request.execute()
        if isinstance(outcome, ExceptionInfo):
            outcome = outcome.exception
        if isinstance(outcome, ExceptionWithTraceback):
            outcome = outcome.exc
        if isinstance(outcome, Reject):
            self.message.reject(requeue=outcome.requeue)  # type: ignore[attr-defined]
        else:
            self.message.ack()
        return outcome

    def lose(self) -> None:
        """As when the worker died with it unacknowledged."""
        self.message.requeue()
