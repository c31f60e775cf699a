"""An exactly-once task's effects are in its ledger's database."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from pytest_django import Settings

from ledger import idempotent_task
from tests.ledger.checks.conftest import Told


class TestappIsElsewhere:
    """A router that sends the models of one app to the second database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "second" if model._meta.app_label == "testapp" else None


@pytest.fixture
def elsewhere(settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.TestappIsElsewhere"]


def task_in(app: Celery, module: str, **options: Any) -> Any:
    @idempotent_task(**options)
    def pay(employee: int) -> None: ...

    pay.__module__ = module
    return app.task(pay)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("options", "warned"),
    [
        ({}, True),
        ({"using": "default"}, True),
        ({"using": "second"}, False),
        ({"using": lambda employee: "default"}, False),
        ({"guarantee": "at_least_once"}, False),
    ],
)
def test_a_task_recorded_elsewhere_is_told(
    app: Celery, told: Told, options: dict[str, Any], warned: bool
) -> None:
    task = task_in(app, "tests.testapp.tasks", **options)
    found = told("W007", task)
    assert bool(found) == warned
    if warned:
        assert "using='second'" in str(found[0].hint)
        assert "migrate ledger --database second" in str(found[0].hint)


@pytest.mark.usefixtures("elsewhere")
def test_other_apps_and_none_are_in_order(app: Celery, told: Told) -> None:
    for module in ("payroll.tasks", "nowhere.tasks"):
        assert told("W007", task_in(app, module)) == []


def test_where_everything_is_in_one_database_it_is_in_order(app: Celery, told: Told) -> None:
    assert told("W007", task_in(app, "tests.testapp.tasks")) == []
