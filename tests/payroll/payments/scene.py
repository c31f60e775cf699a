"""What the tests of payments look at, and the moments at which they break something."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from ledger import check_idempotency_status
from ledger.models import TaskExecution
from payroll.bank.process import BankProcess
from payroll.models import JournalEntry, Payment
from payroll.tasks import financial_transaction
from tests.workers import wait_until


def status(payment: Payment) -> dict[str, Any]:
    return check_idempotency_status(financial_transaction.name, [payment.pk])


def execution(payment: Payment) -> TaskExecution:
    return TaskExecution.objects.get(key=status(payment)["key"], retired_at=None)


def last_try(payment: Payment) -> Any:
    """Tell to pay, and let Celery not try again by itself."""
    task: Any = financial_transaction
    return task.apply_async([payment.pk], retries=task.max_retries)


def wait_for(payment: Payment, *states: str) -> dict[str, Any]:
    """Until the payment's execution is in one of them; returns its status."""

    wait_until(lambda: status(payment)["state"] in states, what=f"{states} for {payment}")
    return status(payment)


def booked(bank: BankProcess, payment: Payment) -> int:
    return len(bookings(bank, payment))


def bookings(bank: BankProcess, payment: Payment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bank.book(f"payment-{payment.pk}")["bookings"]
    return found


def in_the_books(payment: Payment) -> tuple[str, int | None, int]:
    """Its status, the bank's number, and how many journal entries it has."""
    payment.refresh_from_db()
    entries = JournalEntry.objects.filter(payment=payment).count()
    return payment.status, payment.bank_number, entries


def kill(payment: Payment) -> None:
    """SIGKILL the process of the pool that has it."""
    os.kill(int(execution(payment).worker.rpartition("/")[2]), signal.SIGKILL)


@contextmanager
def journal_closed() -> Iterator[Callable[[], bool]]:
    """Nobody gets past the bank's answer: the journal is locked. Yields what waits for one who
    tries."""

    def reached() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE relation = 'payroll_journalentry'::regclass"
                " AND mode = 'RowExclusiveLock' AND NOT granted"
            )
            return bool(cursor.fetchone()[0])

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE payroll_journalentry IN EXCLUSIVE MODE")
        yield lambda: wait_until(reached, what="the answer's way to the books")
