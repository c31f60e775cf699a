"""What would break the protocol silently is an error of ``manage.py check``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from pytest_django import Settings

from ledger.conf import DEFAULTS, setting


@pytest.fixture
def other_default(transactional_db: None) -> Iterator[None]:
    """A server whose sessions begin at another isolation level."""
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(
            f"alter database {name} set default_transaction_isolation = 'repeatable read'"
        )
    connection.close()
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"alter database {name} reset default_transaction_isolation")
    connection.close()


def ids(**options: object) -> list[str]:
    return [str(told.id) for told in run_checks(**options) if str(told.id).startswith("ledger.")]  # type: ignore[arg-type]


def test_this_projects_own_settings_are_in_order(transactional_db: None) -> None:
    assert ids(databases=["default"]) == []


def test_an_unknown_entry_is_an_error_that_names_it_and_the_known_ones(settings: Settings) -> None:
    settings.LEDGER = {"RETENTION_DAYS": 30, "RETENTON_DAYS": 30}
    (error,) = [told for told in run_checks() if told.id == "ledger.E001"]
    assert "'RETENTON_DAYS'" in error.msg
    assert error.hint is not None
    for name in DEFAULTS:
        assert name in error.hint


def test_another_isolation_level_of_the_server_is_an_error(other_default: None) -> None:
    assert ids(databases=["default"]) == ["ledger.E003"]


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_another_isolation_level_in_the_settings_is_an_error(
    transactional_db: None, level: str
) -> None:
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    connection.close()
    connection.settings_dict["OPTIONS"]["isolation_level"] = IsolationLevel[level]
    try:
        connection.ensure_connection()
        assert ids(databases=["default"]) == ["ledger.E003"]
    finally:
        del connection.settings_dict["OPTIONS"]["isolation_level"]
        connection.close()
        connection.isolation_level = IsolationLevel.READ_COMMITTED  # type: ignore[attr-defined]


def test_another_database_system_is_an_error(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(connection._connections[connection._alias]), "vendor", "sqlite")  # type: ignore[attr-defined]
    assert ids(databases=["default"]) == ["ledger.E002"]


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
