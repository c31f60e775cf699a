"""``LEDGER`` holds what means something, and a wrong value is refused by name."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from ledger.conf import DEFAULTS, KNOWN, ignored_tasks, setting


def test_an_unknown_entry_is_an_error_that_names_it_and_the_known_ones(settings: Settings) -> None:
    settings.LEDGER = {"RETENTION_DAYS": 30, "RETENTON_DAYS": 30, "IGNORE_TASKS": []}
    (error,) = [told for told in run_checks() if told.id == "ledger.E001"]
    assert "'RETENTON_DAYS'" in error.msg
    assert error.hint is not None
    for name in KNOWN:
        assert name in error.hint


def test_times_without_a_time_zone_are_an_error(settings: Settings) -> None:
    assert [told for told in run_checks() if told.id == "ledger.E009"] == []
    settings.USE_TZ = False
    (error,) = [told for told in run_checks() if told.id == "ledger.E009"]
    assert error.is_serious()
    assert "USE_TZ = True" in str(error.hint)


@pytest.mark.parametrize("value", [0, -1, "30", 1.5, True, None])
def test_an_entry_that_is_no_whole_number_above_0_is_refused_by_name(
    settings: Settings, value: object
) -> None:
    settings.LEDGER = {"RETENTION_DAYS": value}
    with pytest.raises(ImproperlyConfigured, match=r"RETENTION_DAYS.*the default is 400"):
        setting("RETENTION_DAYS")


def test_without_the_setting_the_defaults_hold(settings: Settings) -> None:
    if hasattr(settings, "LEDGER"):
        del settings.LEDGER
    assert {name: setting(name) for name in DEFAULTS} == DEFAULTS
    settings.LEDGER = {"SWEEP_BATCH": 7}
    assert setting("SWEEP_BATCH") == 7
    assert setting("RETENTION_DAYS") == 400


@pytest.mark.parametrize("value", ["djcelery.*", [7], None, {"djcelery.*"}])
def test_ignored_tasks_are_a_list_of_text(settings: Settings, value: object) -> None:
    settings.LEDGER = {"IGNORE_TASKS": value}
    with pytest.raises(ImproperlyConfigured, match="IGNORE_TASKS"):
        ignored_tasks()
