"""A failure is recorded although a delivery that only looks has the key's lock at that moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.dispatch import receiver

from ledger import idempotent_task
from ledger.models import State, TaskExecution
from ledger.signals import execution_failed
from tests.ledger.marks import commits

pytestmark = commits


@idempotent_task()
def failing() -> None:
    raise ValueError("not this time")


def test_a_failure_is_recorded_although_somebody_looks_at_it(
    session: Callable[[], psycopg.Connection],
) -> None:
    """Taken for another's, the row would say ``running``, and its next run count as a take-over."""
    looking = session()
    looking.autocommit = False
    looked = threading.Timer(0.05, looking.rollback)

    @receiver(execution_failed)  # sent when all is rolled back, just before the record
    def look(call: Any, **signal: Any) -> None:
        looking.execute("select pg_advisory_xact_lock(ledger_lock_id(%s))", [call.key])
        looked.start()

    with pytest.raises(ValueError, match="not this time"):
        failing()

    looked.join()
    assert TaskExecution.objects.get().state == State.FAILED
