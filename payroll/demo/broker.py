"""The configured broker: publishing to the demo's queue, and leaving nothing behind."""

import time
from collections.abc import Sequence
from typing import Any, Self

import redis
from celery import Celery
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.utils.url import maybe_sanitize_url

from .errors import DemoError

CONSUMER_SECONDS = 10


class Broker:
    """A connection with the demo's settings. The variables that those read must be set."""

    def __init__(self) -> None:
        self.app = Celery("demo", set_as_current=False, fixups=[])
        self.app.config_from_object("payroll.demo.settings", namespace="CELERY")
        self.queue: str = self.app.conf.task_default_queue
        self.connection: Connection = self.app.connection_for_write(heartbeat=0)
        self.channel: Any = None
        self._redis: redis.Redis | None = None

    def __str__(self) -> str:
        return str(maybe_sanitize_url(self.app.conf.broker_url))

    def __enter__(self) -> Self:
        try:
            self.connection.ensure_connection(max_retries=2, interval_start=1)
        except OperationalError as error:
            raise DemoError(
                f"The broker {self} cannot be reached: {error}\n"
                "Start it, or unset CELERY_BROKER_URL to use the embedded one."
            ) from error
        self.channel = self.connection.default_channel
        if self.connection.transport.driver_type == "redis":
            self._redis = redis.Redis(connection_pool=self.channel.client.connection_pool)
        self.clear()
        return self

    def __exit__(self, _: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, self.connection.connection_errors):
            raise DemoError(f"The broker {self} went away in the middle: {error}") from error
        self.clear()
        if not self._redis:
            self.channel.queue_delete(self.queue)
        self.connection.release()

    def publish(self, task: str, messages: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Publish a task once for each (task id, arguments)."""
        with self.app.amqp.Producer(self.channel) as producer:
            for task_id, args in messages:
                self.app.send_task(
                    task, args, task_id=task_id, ignore_result=True, producer=producer
                )

    def clear(self) -> None:
        """Forget every message of the demo, those that killed workers held included."""
        if self._redis:
            for key in self._redis.scan_iter(f"{self.queue}:*", count=1000):
                self._redis.delete(key)
        else:
            self.wait_for_consumers()
            self._declared().purge()

    @property
    def takes_along(self) -> int:
        """How many messages a killed worker may take along. Redis hands a message over before it
        notes who holds it, so one of them (celery/celery issue 7950); RabbitMQ takes all back."""
        return 1 if self._redis else 0

    def left(self) -> int:
        """How many messages nobody has acknowledged; on RabbitMQ, those that no worker holds."""
        if self._redis:
            waiting = self._redis.llen(f"{self.queue}:{self.queue}")
            return int(waiting + self._redis.hlen(f"{self.queue}:unacked"))
        return int(self._declared().queue_declare(passive=True).message_count)

    def wait_for_consumers(self) -> None:
        """Wait until RabbitMQ knows that the workers are gone: then it has what they held."""
        if self._redis:
            return
        deadline = time.monotonic() + CONSUMER_SECONDS
        queue = self._declared()
        while queue.queue_declare(passive=True).consumer_count and time.monotonic() < deadline:
            time.sleep(0.05)

    def _declared(self) -> Any:
        queue = self.app.amqp.queues[self.queue](self.channel)
        queue.declare()
        return queue
