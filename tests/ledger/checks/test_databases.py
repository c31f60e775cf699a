"""A database that the protocol cannot use is an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.checks import run_checks
from django.db import connection


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


def ids() -> list[str]:
    return [str(told.id) for told in run_checks(tags=["database"], databases=["default"])]


def test_this_projects_own_is_in_order(transactional_db: None) -> None:
    assert ids() == []


def test_another_isolation_level_of_the_server_is_an_error(other_default: None) -> None:
    assert ids() == ["ledger.E003"]


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_another_isolation_level_in_the_settings_is_an_error(
    transactional_db: None, level: str
) -> None:
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    connection.close()
    connection.settings_dict["OPTIONS"]["isolation_level"] = IsolationLevel[level]
    try:
        connection.ensure_connection()
        assert ids() == ["ledger.E003"]
    finally:
        del connection.settings_dict["OPTIONS"]["isolation_level"]
        connection.close()
        connection.isolation_level = IsolationLevel.READ_COMMITTED  # type: ignore[attr-defined]


def test_another_database_system_is_an_error(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(connection._connections[connection._alias]), "vendor", "sqlite")  # type: ignore[attr-defined]
    assert ids() == ["ledger.E002"]
