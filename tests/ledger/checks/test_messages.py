"""Messages are JSON, and RabbitMQ says whether it took them."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from ledger import idempotent_task
from tests.ledger.checks.conftest import Told


def test_as_it_should_be(app: Celery, told: Told) -> None:
    assert told("E007") == told("W008") == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("task_serializer", "pickle"),
        ("result_serializer", "yaml"),
        ("accept_content", ["pickle"]),
        ("result_accept_content", ["msgpack", "yaml"]),
    ],
)
def test_another_serialiser_is_an_error(app: Celery, told: Told, setting: str, value: Any) -> None:
    app.conf[setting] = value
    (error,) = told("E007")
    assert f"CELERY_{setting.upper()} is {value!r}" in error.msg
    assert "json" in str(error.hint)


@pytest.mark.parametrize("accepted", [["json", "pickle"], ["application/json"], {"json"}])
def test_json_among_others_is_accepted(app: Celery, told: Told, accepted: Any) -> None:
    app.conf.accept_content = accepted
    assert told("E007") == []


def test_a_task_that_overrides_it_is_an_error(app: Celery, told: Told) -> None:
    @app.task(serializer="pickle")
    @idempotent_task()
    def pay() -> None: ...

    (error,) = told("E007", pay)
    assert "serializer='pickle'" in str(error.hint)


@pytest.mark.parametrize(
    ("broker", "options", "warned"),
    [
        ("amqp://localhost", {}, True),
        ("pyamqp://localhost", {"confirm_publish": False}, True),
        ("amqp://localhost", {"confirm_publish": True}, False),
        ("redis://localhost", {}, False),
        ("memory://", {}, False),
        ("nosuch://localhost", {}, False),
    ],
)
def test_rabbitmq_is_asked_to_confirm(
    app: Celery, told: Told, broker: str, options: dict[str, Any], warned: bool
) -> None:
    app.conf.update(broker_url=broker, broker_transport_options=options)
    assert bool(told("W008")) == warned
