"""docs/migrating.md: the old decorators' call signatures, phase by phase, with nothing changed but
the import."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from celery import Task, shared_task
from django.core.management import call_command
from django.db import OperationalError

from ledger import (
    check_idempotency_status,
    clear_idempotency_key,
    idempotent_daily_task,
    idempotent_once,
    idempotent_task,
    make_idempotency_key,
)
from ledger.protection import MARK
from ledger.testing import deliver_twice
from tests.testapp.models import Effect

pytestmark = pytest.mark.django_db

TRANSIENT_ERRORS = (OperationalError, OSError, ConnectionError)


def act(key: str) -> dict[str, int]:
    return {"effect": Effect.objects.create(key=key).pk}


# Phase 1


@shared_task(
    bind=True, autoretry_for=TRANSIENT_ERRORS, max_retries=5, name="migrating.send_critical_alert"
)
@idempotent_once(ttl_hours=24)
def send_critical_alert(
    self: Task, alert_type: str, message: str, recipients: list[str] | None = None
) -> dict[str, int]:
    return act(alert_type)


@shared_task(bind=True, max_retries=2, name="migrating.generate_security_report")
@idempotent_daily_task(ttl_hours=48)
def generate_security_report(self: Task) -> dict[str, int]:
    return act("security report")


# Phase 2


@shared_task(
    bind=True,
    autoretry_for=TRANSIENT_ERRORS,
    retry_backoff=True,
    max_retries=3,
    name="migrating.cleanup_old_logs",
)
@idempotent_daily_task(ttl_hours=48)
def cleanup_old_logs(self: Task) -> dict[str, int]:
    return act("logs")


@shared_task(bind=True, name="migrating.cleanup_expired_tokens")
@idempotent_task(24, True, True)
def cleanup_expired_tokens(self: Task, days_to_keep: int = 30) -> dict[str, int]:
    return act(f"{days_to_keep} days")


# Phase 3


@shared_task(bind=True, max_retries=2, name="migrating.generate_missing_payroll_task")
@idempotent_task(ttl_hours=72, date_based=False)
def generate_missing_payroll_task(
    self: Task, employee_id: int, year: int, month: int
) -> dict[str, str]:
    """Its command is any that has something to say: what matters is that it runs once."""
    act(f"{employee_id} {year}-{month}")
    call_command("check", tag=["models"], verbosity=0)
    return {"status": "completed"}


@shared_task(bind=True, max_retries=1, name="migrating.financial_transaction")
@idempotent_task(ttl_hours=24, skip_on_duplicate=False)
def financial_transaction(self: Task, transaction_id: str) -> dict[str, int]:
    return act(transaction_id)


Call = tuple[Task, tuple[Any, ...]]

CALLS: list[Call] = [
    (send_critical_alert, ("disk", "full")),
    (generate_security_report, ()),
    (cleanup_old_logs, ()),
    (cleanup_expired_tokens, ()),
    (generate_missing_payroll_task, (7, 2025, 10)),
]


@pytest.mark.parametrize(("task", "args"), CALLS)
class TestEveryPhase:
    def test_a_second_delivery_is_answered_with_the_first_result(
        self, task: Task, args: tuple[Any, ...]
    ) -> None:
        first, second = deliver_twice(task, *args)
        assert first == second
        assert Effect.objects.count() == 1

    def test_the_utilities_know_it_by_the_same_arguments(
        self, task: Task, args: tuple[Any, ...]
    ) -> None:
        result = task(*args)
        status = check_idempotency_status(task.name, args)
        assert (status["executed"], status["result"]) == (True, result)
        assert status["key"] == make_idempotency_key(task.name, args)
        assert clear_idempotency_key(task.name, args)
        assert not check_idempotency_status(task.name, args)["executed"]


def test_a_strict_task_raises_the_error_that_it_always_raised() -> None:
    with pytest.raises(RuntimeError):
        deliver_twice(financial_transaction, "tx-1")
    assert Effect.objects.count() == 1


def test_dated_keys_end_with_the_date_and_others_do_not() -> None:
    dated = {generate_security_report, cleanup_old_logs, cleanup_expired_tokens}
    for task, args in CALLS:
        prefix, name, digest, *date = make_idempotency_key(task.name, args).split(":")
        assert (prefix, name, len(digest)) == ("idempotent", task.name, 64)
        assert len(date) == (task in dated)


@pytest.mark.parametrize(
    ("decorator", "parameters"),
    [
        (idempotent_task, {"ttl_hours": 24, "date_based": False, "skip_on_duplicate": True}),
        (idempotent_daily_task, {"ttl_hours": 48}),
        (idempotent_once, {"ttl_hours": 24}),
    ],
)
def test_the_decorators_take_what_they_took(
    decorator: Callable[..., Any], parameters: dict[str, Any]
) -> None:
    by_position = [
        (p.name, p.default)
        for p in inspect.signature(decorator).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert dict(by_position[: len(parameters)]) == parameters
    assert list(dict(by_position)) == list(parameters)


def test_a_daily_task_is_dated_and_one_for_ever_the_same_is_not() -> None:
    assert getattr(cleanup_old_logs.run, MARK).options.period == "day"
    assert getattr(send_critical_alert.run, MARK).options.period is None
