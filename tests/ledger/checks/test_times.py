"""Nothing is given up, delivered again or forgotten before its time."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from pytest_django import Settings

from ledger import idempotent_task
from tests.ledger.checks.conftest import Told

IDS = ("W004", "W005", "W006", "W009")
VISIBLE = {"visibility_timeout": 600}


def task_with(app: Celery, *, under: dict[str, Any] | None = None, **options: Any) -> Any:
    @app.task(**options)
    @idempotent_task(**(under or {}))
    def pay() -> None: ...

    return pay


def ids(told: Told, task: Any) -> list[str]:
    return [id for id in IDS if told(id, task)]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, []),
        ({"time_limit": 599}, []),
        ({"time_limit": 600}, ["W004"]),
        ({"soft_time_limit": 601}, ["W004"]),
        ({"time_limit": 300, "soft_time_limit": 299}, []),
        ({"time_limit": 300, "soft_time_limit": 300}, ["W006"]),
        ({"time_limit": 299, "soft_time_limit": 300}, ["W006"]),
        ({"default_retry_delay": 599}, []),
        ({"default_retry_delay": 600}, ["W005"]),
        ({"retry_kwargs": {"countdown": 600}}, ["W005"]),
        ({"retry_backoff": True, "retry_backoff_max": 7200, "max_retries": 9}, []),
        ({"retry_backoff": True, "retry_backoff_max": 7200, "max_retries": 10}, ["W005"]),
        ({"retry_backoff": True, "retry_backoff_max": 7200, "max_retries": None}, ["W005"]),
        ({"retry_backoff": True, "retry_backoff_max": 599, "max_retries": None}, []),
        ({"retry_backoff": 60, "retry_backoff_max": 7200, "max_retries": 4}, ["W005"]),
    ],
)
def test_limits_and_waits_are_shorter_than_redis_waits(
    app: Celery, told: Told, options: dict[str, Any], found: list[str]
) -> None:
    app.conf.broker_transport_options = VISIBLE
    assert ids(told, task_with(app, **options)) == found


def test_limits_of_the_settings_count_too(app: Celery, told: Told) -> None:
    app.conf.update(task_time_limit=7200, broker_transport_options=VISIBLE)
    assert ids(told, task_with(app)) == ["W004"]


def test_redis_waits_for_an_hour_unless_told_otherwise(app: Celery, told: Told) -> None:
    assert ids(told, task_with(app, name="short", time_limit=3599)) == []
    assert ids(told, task_with(app, name="long", time_limit=3600)) == ["W004"]


def test_a_delivery_that_is_put_back_waits_too(app: Celery, told: Told, settings: Settings) -> None:
    app.conf.broker_transport_options = VISIBLE
    settings.LEDGER = {"BUSY_COUNTDOWN_MAX": 599}
    assert not any("put back" in warning.msg for warning in told("W005"))
    settings.LEDGER = {"BUSY_COUNTDOWN_MAX": 600}
    (warning,) = [warning for warning in told("W005") if "put back" in warning.msg]
    assert "Lower BUSY_COUNTDOWN_MAX" in str(warning.hint)


def test_rabbitmq_does_not_go_by_time(app: Celery, told: Told) -> None:
    app.conf.update(broker_url="amqp://localhost", broker_transport_options=VISIBLE)
    assert ids(told, task_with(app, time_limit=7200, default_retry_delay=7200)) == []


@pytest.mark.parametrize(
    ("period", "hours"), [("hour", 1), ("day", 25), ("week", 24 * 7 + 1), ("month", 24 * 31 + 1)]
)
def test_a_period_is_not_forgotten_before_it_is_over(
    app: Celery, told: Told, period: str, hours: int
) -> None:
    forgotten = task_with(app, name="too short", under={"period": period, "ttl_hours": hours - 0.1})
    kept = task_with(app, name="kept", under={"period": period, "ttl_hours": hours})
    for_ever = task_with(app, name="for ever", under={"period": period, "ttl_hours": None})
    (warning,) = told("W009", forgotten)
    assert warning.msg.startswith(f"{forgotten.name} runs once a {period}")
    assert f"ttl_hours={hours} " in str(warning.hint)
    assert ids(told, kept) == ids(told, for_ever) == []
