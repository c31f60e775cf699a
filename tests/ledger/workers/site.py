"""A broker, the workers on it, and what a test asks of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from celery import Task
from celery.result import AsyncResult
from kombu import Connection

from ledger import make_idempotency_key
from ledger.models import ExecutionEvent, TaskExecution
from tests.testapp.faults import Fault
from tests.testapp.models import Effect
from tests.workers import Worker, Workers, wait_until

QUICK = ("--", "worker.lost_wait=0.1")
"""How long a worker waits for the result of a lost pool process: Celery's default is 10 s."""


class Site:
    """Workers on one broker, and the way messages get there."""

    def __init__(
        self, workers: Workers, connection: Connection | None, environment: Mapping[str, str]
    ) -> None:
        self.workers = workers
        self.connection = connection
        self.environment = environment
        self._shown: dict[str, int] = {}

    def worker(self, *, visibility_timeout: int = 3600) -> Worker:
        """One that lives, started if there is none."""
        living = [worker for worker in self.workers.started if worker.alive]
        return living[0] if living else self.start(4, visibility_timeout=visibility_timeout)

    def start(
        self,
        concurrency: int = 1,
        pool: str = "prefork",
        *,
        visibility_timeout: int = 3600,
        environment: Mapping[str, str] | None = None,
    ) -> Worker:
        """Start one as ``Workers.start`` does, on this broker, quick to notice a lost process."""
        return self.workers.start(
            concurrency,
            pool,
            visibility_timeout=visibility_timeout,
            environment={**self.environment, **(environment or {})},
            options=QUICK,
        )

    def kill_all(self) -> None:
        for worker in self.workers.started:
            worker.kill()

    def publish(
        self,
        task: Task,
        *args: object,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult:
        """Publish a message that asks for ``faults``; options are those of ``apply_async``."""
        options["headers"] = {**(headers or {}), "faults": list(faults)}
        return task.apply_async(args, connection=self.connection, **options)  # type: ignore[call-arg]

    def forget_queue(self, name: str) -> None:
        assert self.connection is not None, "the configured broker is emptied by tests.workers"
        self.connection.channel().queue_delete(name)  # type: ignore[attr-defined]

    def show_log(self) -> None:
        """Print what the workers have logged since the last time."""
        for worker in self.workers.started:
            log = worker.log
            if news := log[self._shown.get(worker.name, 0) :]:
                print(f"--- {worker.name} ---\n{news}")
            self._shown[worker.name] = len(log)


class Gate:
    """Where a body waits for the test: its ``fault()`` goes into the message."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()

    def fault(self, at: str = "body", **fault: Any) -> Fault:
        return {"at": at, "do": "wait", "gate": str(self.folder), **fault}

    def wait_until_reached(self) -> None:
        wait_until(lambda: any(self.folder.iterdir()), what=f"a body at {self.folder}")

    def open(self) -> None:
        (self.folder / "open").touch()


def execution(task: Task, *args: object) -> TaskExecution:
    """The live execution of this call."""
    return TaskExecution.objects.get(key=make_idempotency_key(task.name, args), retired_at=None)


def state(task: Task, *args: object) -> str | None:
    """The state of this call's live execution, or None where there is none."""
    key = make_idempotency_key(task.name, args)
    return (
        TaskExecution.objects.filter(key=key, retired_at=None)
        .values_list("state", flat=True)
        .first()
    )


def events(task: Task, *args: object) -> list[tuple[str, int]]:
    """Kind and attempt of each event of this call's executions, in their order."""
    key = make_idempotency_key(task.name, args)
    found = ExecutionEvent.objects.filter(execution__key=key).order_by("id")
    return list(found.values_list("kind", "attempt"))


def effects(key: str) -> list[str]:
    """The notes of the effects that were committed under this key, in their order."""
    return list(Effect.objects.filter(key=key).order_by("id").values_list("note", flat=True))
