"""A database that the protocol cannot use is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ledger import installed


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


Change = Callable[[str, str], None]


@pytest.fixture
def change(transactional_db: None) -> Iterator[Change]:
    """Changes a function in the database; all are this release's again afterwards."""

    def change(name: str, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("select pg_get_functiondef(to_regproc(%s))", [name])
            (definition,) = cursor.fetchone()
            cursor.execute(re.sub(statement, "", definition, flags=re.DOTALL))

    yield change
    with connection.cursor() as cursor:
        for path in sorted(installed.SQL.glob("*.sql")):
            cursor.execute(path.read_text())


def changed() -> list[str]:
    return [
        f"{told.msg} {told.hint}"
        for told in run_checks(tags=["database"], databases=["default"])
        if told.id == "ledger.E010"
    ]


def test_every_function_of_the_ledgers_is_known() -> None:
    written = "".join(path.read_text() for path in installed.SQL.glob("*.sql"))
    found = installed._FUNCTION.findall(written)
    assert len(found) == written.count("create or replace function ") > 20


def test_a_fence_taken_out_in_the_database_is_an_error(change: Change) -> None:
    change("ledger_complete", "if not found then.*?end if;")
    (told,) = changed()
    assert "'default' are not this release's: ledger_complete()." in told
    assert str(installed.SQL / "functions.sql") in told


def test_so_is_a_function_that_is_gone(change: Change) -> None:
    with connection.cursor() as cursor:
        cursor.execute("drop function ledger_backlog")
    (told,) = changed()
    assert "ledger_backlog()" in told
    assert "figures.sql" in told


def test_what_the_file_says_puts_it_right(change: Change) -> None:
    change("ledger_complete", "if not found then.*?end if;")
    with connection.cursor() as cursor:
        cursor.execute((installed.SQL / "functions.sql").read_text())
    assert changed() == []


def test_it_does_not_keep_the_migration_that_mends_it_from_being_applied(change: Change) -> None:
    change("ledger_complete", "if not found then.*?end if;")
    with pytest.raises(SystemCheckError, match=r"ledger\.E010"):
        call_command("migrate", plan=True, skip_checks=False, verbosity=0)

    (last,) = MigrationLoader(connection).graph.leaf_nodes("ledger")
    MigrationRecorder(connection).record_unapplied(*last)
    try:
        call_command("migrate", plan=True, skip_checks=False, verbosity=0)
        assert changed() == []
    finally:
        MigrationRecorder(connection).record_applied(*last)


def test_a_database_that_is_not_for_the_ledger_is_not_asked(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change("ledger_complete", "if not found then.*?end if;")
    with monkeypatch.context() as patch:
        patch.setattr("django.db.router.allow_migrate", lambda alias, app, **hints: False)
        assert changed() == []
