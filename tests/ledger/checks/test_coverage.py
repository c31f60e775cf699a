"""Somebody has decided about every task of the project."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from celery import Celery
from django.core.checks import Warning
from pytest_django import Settings

from ledger import idempotent_task, non_idempotent
from ledger.checks.registered import registered
from tests.ledger.checks.conftest import Told

HERE = Path(__file__).relative_to(Path.cwd())


def test_a_task_that_nobody_decided_about_is_told_with_its_file_and_line(
    app: Celery, told: Told
) -> None:
    @app.task
    def pay() -> None: ...

    line = inspect.getsourcelines(pay.run)[1]
    (warning,) = told("W001", pay)
    assert isinstance(warning, Warning)
    assert str(warning).startswith(f"{HERE}:{line}: (ledger.W001) {pay.name} is neither")
    assert "@idempotent_task()" in str(warning.hint)
    assert '@non_idempotent("why")' in str(warning.hint)


def test_its_place_is_that_of_its_body_though_celery_wraps_it(app: Celery, told: Told) -> None:
    @app.task(bind=True, autoretry_for=(OSError,))
    def pay(self: object) -> None: ...

    (warning,) = told("W001", pay)
    assert str(warning.obj).startswith(f"{HERE}:")


def test_tasks_under_the_ledger_or_marked_are_decided(app: Celery, told: Told) -> None:
    @app.task(autoretry_for=(OSError,))
    @idempotent_task()
    def pay() -> None: ...

    @app.task
    @non_idempotent("only reads")
    def look() -> None: ...

    @non_idempotent("only reads")
    @app.task
    def look_again() -> None: ...

    for task in (pay, look, look_again):
        assert told("W001", task) == []


def test_celerys_own_are_not_looked_at(app: Celery) -> None:
    assert "celery.chord" in app.tasks
    assert [task.name for task in registered() if task.name.startswith("celery.")] == []


@pytest.mark.parametrize(
    ("pattern", "ignored"), [("others.*", True), ("others.mail", True), ("*.post", False)]
)
def test_somebody_elses_are_listed_in_the_settings(
    app: Celery, told: Told, settings: Settings, pattern: str, ignored: bool
) -> None:
    @app.task(name="others.mail")
    def mail() -> None: ...

    settings.LEDGER = {"IGNORE_TASKS": [pattern]}
    assert (told("W001", mail) == []) == ignored


def test_a_task_that_says_both_is_an_error(app: Celery, told: Told) -> None:
    @non_idempotent("only reads")
    @app.task
    @idempotent_task()
    def pay() -> None: ...

    (error,) = told("E004", pay)
    assert "Leave one" in str(error.hint)


def test_tasks_that_cannot_be_imported_are_told_and_the_others_are_checked(
    app: Celery, told: Told
) -> None:
    @app.task
    def pay() -> None: ...

    app.conf.imports = ["tests.no_such_module"]
    (error,) = told("E008")
    assert "tests.no_such_module" in error.msg
    assert told("W001", pay)
