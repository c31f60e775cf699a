"""Real Celery workers for tests: on the test's own database, killed for real, gone afterwards.

    def test_a_killed_worker_gives_its_message_back(workers):
        worker = workers.start(concurrency=2, visibility_timeout=1)
        result = slow_task.delay("a")       # to a queue of this test process; nobody else listens
        wait_until(Effect.objects.filter(key="a").exists)   # wait for what you mean, never sleep
        worker.kill()                       # SIGKILL of the main process and its pool
        workers.start(visibility_timeout=1)
        assert result.get(timeout=30) == 1

The fixture ``workers`` brings a database whose commits are real (``transactional_db``) and an empty
queue. What a worker runs must be importable there: tasks of installed apps, or of
``tests/testapp/tasks.py``. ``start`` returns once the worker takes messages. When the test ends,
however it ends, every process is killed, its database sessions are ended and the queue is emptied;
the workers' logs are printed, so that pytest shows them under a failure.

    worker.pid, worker.children         the main process, and the processes of its prefork pool
    worker.kill_child(pid=None)         SIGKILL one process of the pool
    worker.kill_main()                  SIGKILL the main process alone
    worker.kill()                       SIGKILL all of it at once, as a lost machine would
    worker.terminate()                  ask for a warm shutdown; returns the exit status
    worker.log, worker.wait_for_log(t)  what it has logged so far; wait until that contains t
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
import redis
from django.conf import settings
from django.db import connection

from core.celery import app

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0
T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
    """Call ``condition`` until what it returns is true, and return that. Times are in seconds.

    Raises:
        AssertionError: it was not within ``timeout``; ``what`` says what was awaited.
    """
    deadline = time.monotonic() + timeout
    while not (outcome := condition()):
        if time.monotonic() > deadline:
            awaited = what or getattr(condition, "__qualname__", repr(condition))
            raise AssertionError(f"Waited {timeout} s in vain for: {awaited}")
        time.sleep(0.02)
    return outcome


def process_environment() -> dict[str, str]:
    """What makes another process use this test's database and queue; ``workers`` cleans both."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TEST_DATABASE": connection.settings_dict["NAME"],
        "TEST_RUN": settings.TEST_RUN,
        "PGAPPNAME": settings.TEST_RUN,
        "LOG_LEVEL": "INFO",
    }


class Worker:
    """One ``celery worker`` process with its pool, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, log_path: Path) -> None:
        self.process = process
        self.name = name
        self.log_path = log_path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def children(self) -> list[int]:
        """The pids of the pool's processes; none with a pool of threads."""
        return [child.pid for child in psutil.Process(self.pid).children()]

    @property
    def group(self) -> list[int]:
        """The pids of all its living processes, the orphans of a killed main process included."""
        members = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process.pid)
        return members

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, timeout: float = PATIENCE) -> None:
        def logged() -> bool:
            alive = self.alive  # asked first: its last words may come between the two
            if text in self.log:
                return True
            if not alive:
                raise AssertionError(f"{self.name} ended before it logged {text!r}:\n{self.log}")
            return False

        wait_until(logged, timeout, f"{text!r} in the log of {self.name}")

    def kill_child(self, pid: int | None = None) -> int:
        """SIGKILL one process of the pool and return its pid; the main process stays."""
        pid = pid or self.children[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self) -> None:
        """SIGKILL the main process and its pool in one go, and wait until all of them are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not self.group, what=f"the end of every process of {self.name}")

    def kill_main(self) -> None:
        """SIGKILL the main process alone; its pool finds out by itself."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float = PATIENCE) -> int:
        """Ask for a warm shutdown (SIGTERM) and return the exit status."""
        self.process.terminate()
        return self.process.wait(timeout)


def launch(
    name: str,
    folder: Path,
    pool: str,
    concurrency: int,
    options: Iterable[str],
    environment: Mapping[str, str],
) -> Worker:
    """Start ``celery worker`` with its log in ``folder``; it takes messages once that says so."""
    log_path = folder / f"{name}.log"
    command = [sys.executable, "-m", "celery", "-A", "core", "worker", "--hostname", f"{name}@%h"]
    command += ["--pool", pool, "--concurrency", str(concurrency)]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", *options]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **environment},
        )
    return Worker(process, name, log_path)


class Workers:
    """The workers of one test. See the head of this module; the fixture makes and ends it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Worker] = []

    def start(
        self,
        concurrency: int = 1,
        pool: str = "prefork",
        *,
        visibility_timeout: int = 3600,
        environment: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> Worker:
        """Start a worker and return it once it takes messages.

        Args:
            concurrency: processes or threads of the pool.
            pool: ``prefork``, ``threads`` or ``solo``.
            visibility_timeout: seconds after which Redis delivers an unacknowledged message again;
                RabbitMQ does so at once when a worker's connection ends.
            environment: further variables, such as those that settings read.
            options: further options of ``celery worker``.
        """
        name = f"worker{len(self.started) + 1}-{settings.TEST_RUN}"
        worker = launch(
            name,
            self.folder,
            pool,
            concurrency,
            options,
            {
                **process_environment(),
                "CELERY_VISIBILITY_TIMEOUT": str(visibility_timeout),
                **(environment or {}),
            },
        )
        self.started.append(worker)
        worker.wait_for_log(" ready.")
        return worker

    def end(self) -> None:
        """Kill what is left, processes and database sessions, empty the queue, print the logs."""
        for worker in self.started:
            worker.kill()
        self._end_database_sessions()
        empty_broker()
        for worker in self.started:
            print(f"\n--- {worker.name} ---\n{worker.log}")
        self.started.clear()

    def _end_database_sessions(self) -> None:
        """Until PostgreSQL next talks to a killed client, what that had locked stays locked."""

        def none_left() -> bool:
            with connection.cursor() as cursor:
                cursor.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and application_name = %s",
                    [settings.TEST_RUN],
                )
                return not cursor.fetchall()

        wait_until(none_left, what="the end of the workers' database sessions")


def empty_broker() -> None:
    """Forget every message and result of this test process. No worker may be left."""
    with app.connection() as broker:
        channel: Any = broker.default_channel
        if settings.CELERY_BROKER_URL.startswith("redis"):
            client = redis.Redis(connection_pool=channel.client.connection_pool)
            for key in client.scan_iter(f"{settings.TEST_RUN}:*", count=1000):
                client.delete(key)
        else:
            queue: Any = app.amqp.queues[settings.TEST_RUN](channel)
            queue.declare()
            # What a killed worker had not acknowledged is back once its consumer is gone.
            wait_until(
                lambda: not queue.queue_declare(passive=True).consumer_count,
                what="the end of the killed workers' consumers",
            )
            queue.purge()


def leave_broker() -> None:
    """Remove what this test process has on the broker."""
    empty_broker()
    if not settings.CELERY_BROKER_URL.startswith("redis"):
        with app.connection() as broker:
            channel: Any = broker.default_channel
            channel.queue_delete(settings.TEST_RUN)
