"""A message is kept until its work is done, and given back when it is not."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from ledger import idempotent_task
from tests.ledger.checks.conftest import Told

IDS = ("E005", "E006", "W002")


def task_with(app: Celery, **options: Any) -> Any:
    @app.task(**options)
    @idempotent_task()
    def pay() -> None: ...

    return pay


def ids(told: Told, task: Any) -> list[str]:
    return [id for id in IDS if told(id, task)]


def test_as_it_should_be(app: Celery, told: Told) -> None:
    assert ids(told, task_with(app, time_limit=10)) == []


@pytest.mark.parametrize(
    ("setting", "value", "id"),
    [
        ("task_acks_late", False, "E005"),
        ("task_reject_on_worker_lost", False, "E006"),
        ("task_acks_on_timeout", True, "W002"),
        ("task_acks_on_timeout", None, "W002"),
    ],
)
def test_a_setting_that_loses_work(
    app: Celery, told: Told, setting: str, value: Any, id: str
) -> None:
    app.conf[setting] = value
    task = task_with(app, time_limit=10)
    assert ids(told, task) == [id]
    (message,) = told(id, task)
    assert f"CELERY_{setting.upper()}" in str(message.hint)


@pytest.mark.parametrize(
    ("options", "id"),
    [
        ({"acks_late": False}, "E005"),
        ({"reject_on_worker_lost": False}, "E006"),
        ({"acks_on_timeout": True, "time_limit": 10}, "W002"),
        ({"acks_on_timeout": None, "acks_on_failure_or_timeout": True, "time_limit": 10}, None),
    ],
)
def test_a_task_that_overrides_a_good_setting(
    app: Celery, told: Told, options: dict[str, Any], id: str | None
) -> None:
    assert ids(told, task_with(app, **options)) == ([id] if id else [])


def test_a_message_that_is_published_again_instead_is_not_lost(app: Celery, told: Told) -> None:
    assert ids(told, task_with(app, reject_on_worker_lost=False, retry_on_worker_lost=True)) == []


def test_without_a_time_limit_nothing_is_killed_at_it(app: Celery, told: Told) -> None:
    app.conf.task_acks_on_timeout = True
    assert ids(told, task_with(app)) == []
    app.conf.task_time_limit = 10
    assert ids(told, task_with(app, name="limited")) == ["W002"]


def test_a_task_that_is_not_under_the_ledger_is_its_owners_business(
    app: Celery, told: Told
) -> None:
    @app.task(acks_late=False)
    def look() -> None: ...

    assert ids(told, look) == []
