"""Faults that a message asks for, in its own headers, so that production code needs no hooks.

    task.apply_async([key], headers={"faults": [{"at": "body", "do": "kill_child"}]})

``at`` names the point, in the order a delivery passes them:

    started     claimed and locked, before the body
    body        the body has written its effect
    result      the body has returned, nothing is committed
    completed   committed, and Celery does not know yet
    stored      Celery has stored the result, and not acknowledged the message

``do`` names a function of ``DEEDS``, which gets the whole fault. ``attempts`` says in which it
happens, ``[1]`` by default; ``stored`` knows no attempt and takes a redelivery for the second.
"""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from celery import current_task, signals
from django.db import DatabaseError, connection
from django.dispatch import receiver

from ledger.signals import execution_completed, execution_started

GATE_SECONDS = 60
Fault = dict[str, Any]


class Flaky(Exception):
    """A failure that goes away."""


def kill_child(fault: Fault) -> None:
    """SIGKILL this process: one of the pool's, or with a pool of threads the whole worker."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_worker(fault: Fault) -> None:
    """SIGKILL the main process and its whole pool, as a lost machine would."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def wait(fault: Fault) -> None:
    """Report at the gate ``fault["gate"]``, a folder, and wait until the test opens it."""
    gate = Path(fault["gate"])
    (gate / f"reached by {os.getpid()} {time.monotonic_ns()}").touch()
    deadline = time.monotonic() + GATE_SECONDS
    while not (gate / "open").exists():
        if time.monotonic() > deadline:
            raise AssertionError(f"{gate} was not opened within {GATE_SECONDS} s")
        time.sleep(0.01)


def hang(fault: Fault) -> NoReturn:
    """Ignore SIGTERM and wait for SIGKILL."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()


def fail(fault: Fault) -> NoReturn:
    raise Flaky("not this time")


def run_out_of_memory(fault: Fault) -> None:
    """``MemoryError``, as where the system grants no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1, hard))
    try:
        bytearray(1 << 28)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def exceed_the_statement_timeout(fault: Fault) -> None:
    with connection.cursor() as cursor:
        cursor.execute("set local statement_timeout = '50ms'")
        cursor.execute("select pg_sleep(60)")


def find_the_disk_full(fault: Fault) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "do $$ begin raise exception 'No space left on device' using errcode = '53100'; end $$"
        )


def leave(fault: Fault) -> NoReturn:
    raise SystemExit(fault.get("status", 1))


def lose_connection(fault: Fault) -> None:
    """End this process's own database session, as a restart or an administrator would."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pg_backend_pid())")


def lose_connection_quietly(fault: Fault) -> None:
    """The same, and go on as if nothing had happened."""
    with contextlib.suppress(DatabaseError):
        lose_connection(fault)


def retry(fault: Fault) -> NoReturn:
    """``self.retry()``, as a body may call it."""
    raise current_task.retry(countdown=0)


DEEDS: dict[str, Callable[[Fault], None]] = {
    deed.__name__: deed
    for deed in (
        kill_child,
        kill_worker,
        wait,
        hang,
        fail,
        run_out_of_memory,
        exceed_the_statement_timeout,
        find_the_disk_full,
        leave,
        lose_connection,
        lose_connection_quietly,
        retry,
    )
}


class Explosive:
    """A result that meets the faults of ``result`` when it is written as JSON."""

    def __init__(self, value: object, attempt: int) -> None:
        self.value = value
        self.attempt = attempt

    def __json__(self) -> object:
        reached("result", self.attempt)
        return self.value


def reached(point: str, attempt: int) -> None:
    """Do what the message that is being handled asks for here."""
    for fault in _faults():
        if fault["at"] == point and attempt in fault.get("attempts", [1]):
            DEEDS[fault["do"]](fault)


def returning(value: object, attempt: int) -> object:
    """``value``, made to meet the faults of ``result`` if there are any."""
    explodes = any(fault["at"] == "result" for fault in _faults())
    return Explosive(value, attempt) if explodes else value


def _faults() -> list[Fault]:
    """Only a worker's: an eager call would kill the tests."""
    if not current_task or current_task.request.called_directly or current_task.request.is_eager:
        return []
    faults: list[Fault] = (current_task.request.headers or {}).get("faults", [])
    return faults


@receiver(execution_started)
def _started(attempt: int, **signal: Any) -> None:
    reached("started", attempt)


@receiver(execution_completed)
def _completed(attempt: int, **signal: Any) -> None:
    reached("completed", attempt)


@signals.task_postrun.connect
def _stored(**signal: Any) -> None:
    redelivered = current_task.request.delivery_info.get("redelivered", False)
    reached("stored", 2 if redelivered else 1)
