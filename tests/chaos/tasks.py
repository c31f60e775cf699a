"""What the workers run: one task for each guarantee, and one of steps. ``nuisance`` tells the first
attempt to misbehave; by then the claim stands, and whatever happens must be made good."""

import os
import signal
import time
from decimal import Decimal
from typing import Any

from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError

from ledger import current_execution, idempotent_task
from payroll.bank.client import BankClient, BankOutcomeUnknown, NotBooked
from tests.chaos.settings import MEMORY_LIMIT
from tests.testapp import faults
from tests.testapp.models import Effect

TRANSIENT = (OperationalError, InterfaceError, SoftTimeLimitExceeded, MemoryError)
PATIENT: dict[str, Any] = {
    "bind": True,
    "max_retries": 30,
    "default_retry_delay": 1,
    "retry_backoff": False,
}
IBAN = "DE89370400440532013000"


def misbehave(task: "Task[Any, Any]", nuisance: str) -> None:
    """On the first attempt only."""
    if not nuisance or current_execution().attempt > 1 or task.request.retries:
        return
    kind, _, amount = nuisance.partition("=")
    if kind == "sleep":
        time.sleep(float(amount))
    elif kind == "retry":
        try:
            raise task.retry(countdown=0)
        finally:
            time.sleep(0.3)  # what it published arrives before this message is acknowledged
    elif kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "greedy":
        b"x" * (MEMORY_LIMIT << 10)  # Celery ends the process when the task is done
    elif kind == "memory":
        faults.run_out_of_memory({})


def bank() -> BankClient:
    return BankClient(os.environ["CHAOS_BANK_URL"], timeout=5)


@shared_task(name="chaos.exactly_once", autoretry_for=TRANSIENT, **PATIENT)
@idempotent_task(key="number", max_crashes=1000)
def exactly_once(self: "Task[Any, Any]", number: int, nuisance: str = "") -> int:
    Effect.objects.create(key=f"exactly_once-{number}", note=str(current_execution().attempt))
    misbehave(self, nuisance)
    return number


@shared_task(
    name="chaos.at_least_once", autoretry_for=(*TRANSIENT, NotBooked, BankOutcomeUnknown), **PATIENT
)
@idempotent_task(key="number", guarantee="at_least_once", max_crashes=1000)
def at_least_once(self: "Task[Any, Any]", number: int, nuisance: str = "") -> int:
    misbehave(self, nuisance)
    key = current_execution().idempotency_key
    bank().transfer(f"at_least_once-{number}", Decimal("1.00"), "EUR", IBAN, idempotency_key=key)
    return number


@shared_task(name="chaos.at_most_once", autoretry_for=(NotBooked,), **PATIENT)
@idempotent_task(key="number", guarantee="at_most_once", safe_to_retry=(NotBooked,))
def at_most_once(self: "Task[Any, Any]", number: int, nuisance: str = "") -> int:
    misbehave(self, nuisance if nuisance != "retry" else "")
    bank().transfer(f"at_most_once-{number}", Decimal("1.00"), "EUR", IBAN)
    return number


@shared_task(name="chaos.steps", autoretry_for=TRANSIENT, **PATIENT)
@idempotent_task(key="number", guarantee="at_least_once", max_crashes=1000)
def steps(self: "Task[Any, Any]", number: int, nuisance: str = "") -> int:
    for part in range(3):
        current_execution().step(f"part {part}", _part, number, part)
        if part == 1:
            misbehave(self, nuisance)
    return number


def _part(number: int, part: int) -> int:
    Effect.objects.create(key=f"steps-{number}", note=f"part {part}")
    return part
