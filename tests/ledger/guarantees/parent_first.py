"""A project whose workers' main process uses a run lock before it forks its pool."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task
from celery.signals import worker_init

from ledger import current_execution, idempotent_task
from tests.ledger.guarantees.locks import holder
from tests.testapp.models import Effect


@shared_task(bind=True)
@idempotent_task(guarantee="at_least_once")
def who(self: Task, number: int) -> None:
    """Write down the session that holds this run's lock."""
    Effect.objects.create(key="who", note=f"{number} {holder(current_execution().key)}")


@worker_init.connect
def in_the_parent(**signal: Any) -> None:
    who(0)
