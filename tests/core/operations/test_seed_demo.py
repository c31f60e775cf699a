"""A new installation is filled with something to look at, once."""

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session
from django.core.management import call_command
from pytest_django import Settings

from core import models
from core.tasks import (
    cleanup_compromised_token_families,
    cleanup_expired_tokens,
    cleanup_old_logs,
    health_check,
)
from tests.core.operations import rows

pytestmark = pytest.mark.django_db(transaction=True)


def contents(folder: Path) -> dict[str, Any]:
    tables = [
        *apps.get_app_config("core").get_models(),
        *apps.get_app_config("payroll").get_models(),
    ]
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "sessions": Session.objects.count(),
        **{str(model._meta): model._default_manager.count() for model in tables},
    }


def test_a_second_run_adds_nothing_and_operations_find_work(
    settings: Settings, tmp_path: Path, broker: None, mailoutbox: list[Any]
) -> None:
    settings.LOG_FOLDER = str(tmp_path)
    call_command("seed_demo", verbosity=0)
    first = contents(tmp_path)
    call_command("seed_demo", verbosity=0)

    assert contents(tmp_path) == first
    assert first["payroll.employee"] == 250
    assert models.Report.objects.count() == 3
    health_check()
    assert "Messages have failed for good." in mailoutbox[0].body
    assert cleanup_compromised_token_families()["revoked"] == 1
    assert cleanup_expired_tokens()["tokens"] == 3
    assert cleanup_old_logs() == rows.NONE_OLD | {"sessions": 1, "log_files": 1}
