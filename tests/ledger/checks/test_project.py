"""``manage.py check`` as it is run: on this project, in a worker, and silenced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from ledger import idempotent_task

ROOT = Path(__file__).parents[3]
CHECK = ("manage.py", "check", "--tag", "ledger", "--fail-level", "WARNING")


def test_this_projects_own_tasks_and_settings_are_in_order() -> None:
    checked = subprocess.run(
        [sys.executable, *CHECK],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "core.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


@pytest.mark.django_db(databases="__all__")
def test_a_check_is_silenced_by_its_id(app: Celery, settings: Settings) -> None:
    @app.task(acks_late=False)
    @idempotent_task()
    def pay() -> None: ...

    settings.SILENCED_SYSTEM_CHECKS = ["ledger.W001"]
    with pytest.raises(SystemCheckError, match=r"ledger\.E005"):
        call_command("check", tags=["ledger"])
    settings.SILENCED_SYSTEM_CHECKS = ["ledger.W001", "ledger.E005"]
    call_command("check", tags=["ledger"], fail_level="ERROR")


def test_a_worker_that_checks_itself_as_it_starts_comes_to_an_end() -> None:
    """Celery's fix-up runs all checks when it imports tasks, which these checks have it do."""
    from core.celery import app

    app.loader.import_default_modules()
    assert [told for told in run_checks() if told.id == "ledger.E001"] == []
