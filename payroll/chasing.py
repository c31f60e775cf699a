"""Payments that are still open, and what becomes of them though no message is on its way.

A payment that a worker is sending is left alone. The others are

    settled   a person asked the bank and released the payment's execution as completed: it is
              posted as sent, with the bank_number of the release's result
    sent      it failed, or a person released it as failed: it is sent again, two minutes after that
              for the first time, then four, up to some eight hours. While no worker takes it, it
              is published once an hour, and each message is worth nothing when the next one comes
    held      the bank may have booked it: a person has to ask the bank, see docs/payments.md
    unasked   the ledger knows nothing of it, and it is sent only where that is asked for
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from celery import Task
from django.db.models.functions import Now

from ledger import make_idempotency_key
from ledger.models import State, TaskExecution
from payroll.errors import PaymentNotPending
from payroll.models import Payment
from payroll.services import settle_payment

BATCH = 1000
LONGEST_WAIT = 9
"""As a power of two, in minutes."""
UNANSWERED = timedelta(hours=1)
"""How long a message waits for a worker."""


def chase_payments(
    task: Task, *, unasked: bool = False, now: datetime | None = None
) -> dict[str, list[Payment]]:
    """Settle what was released, and publish the task, which pays, for what failed a while ago.

    A message that no worker takes within the hour expires, and only then is another published.
    `unasked`: publish it as well for pending payments that it was never published for; harmless for
    those whose message is on its way. `now` is the time that waits are counted up to, by default
    the database's.
    Returns the payments by what became of them.
    """
    found: dict[str, list[Payment]] = {"settled": [], "sent": [], "held": [], "unasked": []}
    for payment, execution in _open(task):
        at: datetime = now or vars(payment)["seen_at"]
        if execution is None:
            if unasked:
                task.delay(payment.pk)
            found["sent" if unasked else "unasked"].append(payment)
        elif execution.state == State.HELD:
            found["held"].append(payment)
        elif execution.state == State.COMPLETED and settle_released(payment, execution.result):
            found["settled"].append(payment)
        elif execution.state == State.FAILED and _is_due(payment, execution, at):
            task.apply_async((payment.pk,), expires=UNANSWERED.total_seconds())
            Payment.objects.filter(pk=payment.pk).update(chased_at=at)
            found["sent"].append(payment)
    return found


def settle_released(payment: Payment, result: Any) -> bool:
    """Post a payment whose execution a person has released as completed. False where it has just
    been posted by the worker that completed it."""
    number = result.get("bank_number") if isinstance(result, dict) else None
    try:
        settle_payment(payment.pk, number)
    except PaymentNotPending:
        return False
    return True


def _is_due(payment: Payment, execution: TaskExecution, now: datetime) -> bool:
    if payment.chased_at and payment.chased_at > execution.started_at:
        return payment.chased_at + UNANSWERED <= now
    wait = timedelta(minutes=2 ** min(execution.attempt, LONGEST_WAIT))
    return execution.started_at + wait <= now


def _open(task: Task) -> Iterator[tuple[Payment, TaskExecution | None]]:
    """The pending payments, each with the live execution that pays it."""
    pending = list(Payment.objects.filter(status=Payment.Status.PENDING).annotate(seen_at=Now()))
    for start in range(0, len(pending), BATCH):
        yield from _with_execution(task, pending[start : start + BATCH])


def _with_execution(
    task: Task, payments: Sequence[Payment]
) -> Iterator[tuple[Payment, TaskExecution | None]]:
    keys = {payment.pk: make_idempotency_key(task.name, [payment.pk]) for payment in payments}
    live = TaskExecution.objects.filter(key__in=keys.values(), retired_at=None)
    executions = {execution.key: execution for execution in live}
    for payment in payments:
        yield payment, executions.get(keys[payment.pk])
