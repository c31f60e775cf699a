"""Asking by a task's name and arguments: without running, locking or changing anything."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from celery import shared_task
from django.db import transaction

from ledger import (
    UnusableArgument,
    check_idempotency_status,
    clear_idempotency_key,
    idempotent_daily_task,
    idempotent_task,
    make_idempotency_key,
)
from ledger.models import ExecutionEvent, TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.death import dies
from tests.ledger.marks import commits
from tests.ledger.test_take_over import Frail
from tests.ledger.wire import Wire

pytestmark = commits

FIELDS = {
    "executed", "state", "completed_at", "expires_at", "attempt", "result", "key", "claimed_at",
    "error",
}  # fmt: skip


@shared_task(name="payroll.pay")
@idempotent_task(ttl_hours=24)
def pay(employee: int, month: int = 11) -> dict[str, Any]:
    if employee < 0:
        raise ValueError("nobody")
    return {"net": Decimal("10.50"), "on": dt.date(2026, month, 30)}


@shared_task(name="payroll.report")
@idempotent_daily_task(ttl_hours=None)
def report() -> None: ...


def test_where_there_is_none_every_field_is_there_and_empty() -> None:
    status = check_idempotency_status("payroll.pay", [7])
    assert status == {
        **dict.fromkeys(FIELDS),
        "executed": False,
        "error": "",
        "key": make_idempotency_key("payroll.pay", [7]),
    }


def test_a_completed_execution_is_described() -> None:
    pay(7)
    status = check_idempotency_status("payroll.pay", kwargs={"employee": 7, "month": 11})
    assert set(status) == FIELDS
    assert (status["executed"], status["state"], status["attempt"]) == (True, "completed", 1)
    assert status["result"] == {"net": Decimal("10.50"), "on": dt.date(2026, 11, 30)}
    assert status["expires_at"] == status["completed_at"] + dt.timedelta(hours=24)
    assert status["claimed_at"] <= status["completed_at"]
    assert status["completed_at"].tzinfo is not None


def test_a_failed_one_tells_its_error() -> None:
    with pytest.raises(ValueError, match="nobody"):
        pay(-1)
    status = check_idempotency_status("payroll.pay", [-1])
    assert (status["executed"], status["state"]) == (False, "failed")
    assert status["error"] == "ValueError('nobody')"
    assert (status["result"], status["completed_at"]) == (None, None)


def test_one_whose_worker_died_is_running_until_somebody_looks_closer() -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    status = check_idempotency_status(frail.name, [7])
    assert (status["executed"], status["state"]) == (False, "running")


def test_an_expired_one_is_not_executed(clock: Clock) -> None:
    pay(7)
    clock.forward(hours=24, minutes=1)
    status = check_idempotency_status("payroll.pay", [7])
    assert (status["executed"], status["state"], status["result"]) == (False, "expired", None)


def test_a_daily_one_is_asked_by_its_date() -> None:
    report()
    assert check_idempotency_status("payroll.report")["executed"] is True
    assert check_idempotency_status("payroll.report", date="2020-01-01")["executed"] is False
    assert check_idempotency_status("payroll.report", date_based=True)["executed"] is True
    assert clear_idempotency_key("payroll.report", date="2020-01-01") is False
    assert clear_idempotency_key("payroll.report") is True


def test_asking_writes_nothing_and_costs_one_query(wire: Wire) -> None:
    pay(7)
    with wire.watched() as traffic:
        check_idempotency_status("payroll.pay", [7])
        check_idempotency_status("payroll.pay", [8])
    assert traffic.replies == 2
    assert not ExecutionEvent.objects.exists()
    assert TaskExecution.objects.count() == 1


def test_the_callers_own_transaction_sees_its_own_runs() -> None:
    with transaction.atomic():
        pay(7)
        assert check_idempotency_status("payroll.pay", [7])["executed"] is True
        transaction.set_rollback(True)
    assert check_idempotency_status("payroll.pay", [7])["executed"] is False


def test_a_wrong_call_is_refused_as_the_task_would_refuse_it() -> None:
    for ask in (make_idempotency_key, check_idempotency_status, clear_idempotency_key):
        with pytest.raises(TypeError, match=r"pay\(\) .*'employee'"):
            ask("payroll.pay")
        with pytest.raises(UnusableArgument, match="argument 0"):
            ask("payroll.pay", [object()])
        with pytest.raises(UnusableArgument, match="date"):
            ask("payroll.report", date="today")
