"""Real Celery workers on the test's database and on a queue that nobody else uses.

``python -m ledger.testing`` is such a worker; what it needs to know is in its environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery, current_app
from celery.app.routes import Router
from celery.utils.imports import symbol_by_name
from kombu import Exchange, Queue

VARIABLE = "LEDGER_TESTING_WORKER"

SHARED = (
    "broker_url",
    "broker_read_url",
    "broker_write_url",
    "broker_transport_options",
    "result_backend",
    "result_backend_transport_options",
)
"""Settings of Celery's that a worker takes from the test's process, which may have changed them."""


class Worker:
    """One ``celery worker`` process with its pool, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, timeout: float = 30) -> None:
        """Until it has logged ``text``. ``AssertionError`` where it ends before, or is late."""
        deadline = time.monotonic() + timeout
        while text not in self.log:
            if not self.is_alive or time.monotonic() > deadline:
                what = f"was silent for {timeout} s" if self.is_alive else "ended"
                raise AssertionError(f"The worker {what} before it logged {text!r}:\n{self.log}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL all of it at once, as a lost machine would."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout: float = 5) -> None:
        """Ask for a warm shutdown, which lets tasks end; SIGKILL after ``timeout`` seconds."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)
        self.kill()


class Workers:
    """The workers of one test; a call starts one."""

    def __init__(self, app: Celery, path: str, queue: str, folder: Path) -> None:
        self._app = app
        self._path = path
        self.queue = queue
        self._folder = folder
        self.started: list[Worker] = []

    def __call__(
        self,
        concurrency: int = 1,
        pool: str = "prefork",
        *,
        include: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> Worker:
        """Start a worker and return it once it takes messages.

        ``concurrency``, ``pool``: as of ``celery worker``. ``include``: modules with further tasks.
        ``environment``: variables such as those that settings read. ``options``: further options of
        ``celery worker``.
        """
        from django.db import connections

        name = f"worker{len(self.started) + 1}-{self.queue}"
        argv = ["worker", "--pool", pool, "--concurrency", str(concurrency)]
        argv += ["--hostname", f"{name}@%h", "--queues", self.queue, "--loglevel", "INFO"]
        argv += ["--include", ",".join(["ledger.testing.crashing", *include])]
        argv += ["--without-gossip", "--without-mingle", "--without-heartbeat", *options]
        told = {
            "app": self._path,
            "queue": self.queue,
            "argv": argv,
            "settings": {name: self._app.conf.get(name) for name in SHARED},
            "databases": {alias: connections[alias].settings_dict["NAME"] for alias in connections},
        }
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", __package__],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                    VARIABLE: json.dumps(told),
                    "PGAPPNAME": self.queue,
                    **(environment or {}),
                },
            )
        worker = Worker(process, log)
        self.started.append(worker)
        worker.wait_for_log(" ready.")
        return worker


@contextmanager
def workers(path: str, folder: Path) -> Iterator[Workers]:
    """What starts workers of the app at ``path`` (``project.celery:app``; found where empty). In
    the block everything this process publishes goes to their queue; at its end all of them are
    ended, the queue is removed and their logs are printed."""
    app, path = _app_at(path)
    queue = f"ledger-test-{uuid4().hex[:12]}"
    with _one_queue(app, queue):
        started = Workers(app, path, queue, folder)
        try:
            yield started
        finally:
            for worker in started.started:
                worker.process.terminate()
            for worker in started.started:
                worker.stop()
                print(f"\n--- worker {worker.pid} ---\n{worker.log}")
            _end_sessions(queue)
            with app.connection_for_write() as broker:
                left = app.amqp.queues[queue](broker.default_channel)
                left.declare()  # kombu forgets what it has not seen: the binding would stay
                left.delete()


def _end_sessions(application_name: str) -> None:
    """Until the server next hears from a killed process, what its session locked stays locked, and
    a test's database cannot be emptied."""
    from django.db import connection

    deadline = time.monotonic() + 30
    ended = False
    while not ended and time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = %s",
                [application_name],
            )
            ended = not cursor.fetchall()


def _app_at(path: str) -> tuple[Celery, str]:
    if not path:
        path = _found(current_app._get_current_object())  # type: ignore[attr-defined]
    app = symbol_by_name(path)
    scheme = str(app.conf.broker_write_url or app.conf.broker_url or "").partition(":")[0]
    if scheme in ("memory", ""):
        raise RuntimeError(
            f"The broker of {path} is {scheme or 'not set'!r}, which another process cannot share. "
            "Give the tests' settings a Redis or RabbitMQ of their own."
        )
    return app, path


def _found(app: object) -> str:
    for name, module in sorted(sys.modules.items()):
        for attribute in ("app", "celery", "celery_app"):
            if getattr(module, "__dict__", {}).get(attribute) is app:
                return f"{name}:{attribute}"
    raise RuntimeError(
        "No module that is imported holds the current Celery app. Name it in pytest's "
        "configuration: ledger_celery_app = project.celery:app"
    )


@contextmanager
def _one_queue(app: Celery, name: str) -> Iterator[None]:
    """Send whatever is published to this queue, and eagerly run nothing."""
    ours = {
        "task_always_eager": False,
        "task_default_queue": name,
        "task_queues": [Queue(name, Exchange(name), routing_key=name, expires=3600)],
        "task_routes": None,
    }
    before = {setting: app.conf.get(setting) for setting in ours}
    _configure(app, ours)
    app.amqp.router = _ToOneQueue(app.amqp.queues[name])  # type: ignore[misc]
    try:
        yield
    finally:
        _configure(app, before)


def _configure(app: Celery, settings: Mapping[str, Any]) -> None:
    app.conf.update(settings)
    app.__dict__.pop("amqp", None)  # it caches queues and routes


class _ToOneQueue(Router):
    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self.queue = queue

    def route(self, options: dict[str, Any], *call: Any, **more: Any) -> dict[str, Any]:
        elsewhere = ("exchange", "exchange_type", "routing_key")
        return {**{k: v for k, v in options.items() if k not in elsewhere}, "queue": self.queue}


def work() -> None:
    """Be a worker, as the environment says."""
    told = json.loads(os.environ.pop(VARIABLE))
    from django.conf import settings

    for alias, database in told["databases"].items():
        settings.DATABASES[alias]["NAME"] = database
    app = symbol_by_name(told["app"])
    app.conf.update(told["settings"])
    _notice_killed_processes_soon(app)
    with _one_queue(app, told["queue"]):
        app.worker_main(told["argv"])


def _notice_killed_processes_soon(app: Celery) -> None:
    """Within a fraction of a second, instead of five to fifteen."""
    from celery.concurrency.asynpool import AsynPool

    app.conf.worker_lost_wait = 0.05
    timers = property(lambda pool: {pool.maintain_pool: 0.1})
    setattr(AsynPool, "timers", timers)  # noqa: B010
