"""What goes wrong with a payment while it is sent. No moment is guessed: each is waited for."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection, transaction

from ledger.testing import crash_at

if TYPE_CHECKING:
    from .trial import Trial

LONG = 60
"""Seconds: longer than any trial."""


@dataclass(frozen=True)
class Fault:
    """``rule``: what the bank does with the first request (payroll.bank.faults). ``around``: what
    happens besides, a block in which all ways are told to pay. ``timeout``: the client's patience,
    in seconds. ``messages``: how often each is told."""

    name: str
    rule: str = ""
    around: Callable[["Trial"], AbstractContextManager[object]] = nullcontext
    timeout: float = 30
    messages: int = 1


@contextmanager
def bank_down(trial: "Trial") -> Iterator[None]:
    for payment in trial.payments:
        payment.bank.kill()
    yield
    trial.wait_until(lambda payment: payment.failures > 0, "a failure to reach the bank")
    for payment in trial.payments:
        payment.bank.start()


@contextmanager
def bank_dies_before_booking(trial: "Trial") -> Iterator[None]:
    yield
    trial.wait_until(lambda payment: payment.requests > 0, "the bank's request")
    _restart_banks(trial)


@contextmanager
def bank_dies_after_booking(trial: "Trial") -> Iterator[None]:
    yield
    trial.wait_until(lambda payment: payment.booked > 0, "the bank's booking")
    _restart_banks(trial)


@contextmanager
def worker_dies_before_booking(trial: "Trial") -> Iterator[None]:
    """Stopped before it is killed, so that it does not see the bank lose its request."""
    yield
    trial.wait_until(lambda payment: payment.requests > 0, "the bank's request")
    workers = [payment.worker for payment in trial.payments]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    _restart_banks(trial)
    _kill(workers)


@contextmanager
def worker_dies_before_the_answer(trial: "Trial") -> Iterator[None]:
    yield
    trial.wait_until(lambda payment: payment.booked > 0, "the bank's booking")
    _kill([payment.worker for payment in trial.payments])


@contextmanager
def worker_dies_before_our_commit(trial: "Trial") -> Iterator[None]:
    """The workers have the answer and wait for the journal, which is locked for them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE payroll_journalentry IN EXCLUSIVE MODE")
        yield
        everybody = len(trial.payments)
        trial.wait_until(lambda _: _at_the_journal() == everybody, "the answers' way to the books")
        _kill([payment.worker for payment in trial.payments])


@contextmanager
def worker_dies_after_our_commit(trial: "Trial") -> Iterator[None]:
    with crash_at("in_body") as crash:
        yield
    crash.wait()


def _at_the_journal() -> int:
    """How many sessions wait to write to it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE relation = 'payroll_journalentry'::regclass"
            " AND mode = 'RowExclusiveLock' AND NOT granted"
        )
        [count] = cursor.fetchone()
    return int(count)


def _restart_banks(trial: "Trial") -> None:
    for payment in trial.payments:
        payment.bank.kill()
    for payment in trial.payments:
        payment.bank.start()


def _kill(workers: list[int]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


FAULTS = (
    Fault("nothing goes wrong"),
    Fault("the message comes twice", messages=2),
    Fault("the bank cannot be reached", around=bank_down),
    Fault("the connection breaks before booking", rule="drop_before"),
    Fault("an error 500 before booking", rule="error_before"),
    Fault(
        "the bank dies before booking", rule=f"delay_before={LONG}", around=bank_dies_before_booking
    ),
    Fault("the connection breaks after booking", rule="drop_after"),
    Fault("an error 500 after booking", rule="error_after"),
    Fault(
        "the bank dies after booking", rule=f"delay_after={LONG}", around=bank_dies_after_booking
    ),
    Fault("the answer comes too late", rule=f"delay_after={LONG}", timeout=0.5),
    Fault("the answer comes twice", rule="reply_twice"),
    Fault("the bank handles the request twice", rule="book_twice"),
    Fault(
        "the worker is killed before booking",
        rule=f"delay_before={LONG}",
        around=worker_dies_before_booking,
    ),
    Fault(
        "the worker is killed before the answer",
        rule=f"delay_after={LONG}",
        around=worker_dies_before_the_answer,
    ),
    Fault(
        "the worker is killed between the answer and our commit",
        around=worker_dies_before_our_commit,
    ),
    Fault("the worker is killed after our commit", around=worker_dies_after_our_commit),
)
