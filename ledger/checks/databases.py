from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, router
from django.db.migrations.loader import MigrationLoader

from .. import installed


def check_databases(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """The protocol reads what was committed before each statement: READ COMMITTED only; and half of
    it is functions in the database, which must be this release's. Asks the databases that
    ``manage.py check --database`` names, or all of them from Django 6.1 on."""
    errors: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql":
            if alias == DEFAULT_DB_ALIAS:
                errors.append(
                    Error(
                        f"The database {alias!r} is {connection.display_name}, not PostgreSQL.",
                        hint="The ledger needs PostgreSQL 15 or newer.",
                        id="ledger.E002",
                    )
                )
            continue
        try:
            with connection.cursor() as cursor:
                cursor.execute("show default_transaction_isolation")
                (level,) = cursor.fetchone()
            errors += _functions(alias)
        except (OperationalError, ImproperlyConfigured):
            continue  # where there is no database, as before a commit, there is nothing to find
        configured = getattr(
            connection, "isolation_level", None
        )  # psycopg's enumeration, READ COMMITTED unless set
        if level != "read committed" or configured not in (None, 2):
            errors.append(
                Error(
                    f"The database {alias!r} does not run at READ COMMITTED.",
                    hint="Remove isolation_level from its OPTIONS, and "
                    "default_transaction_isolation from the server's or role's settings: the "
                    "ledger reads after it locks.",
                    id="ledger.E003",
                )
            )
    return errors


def _functions(alias: str) -> Iterator[CheckMessage]:
    if not router.allow_migrate(alias, "ledger"):
        return
    with connections[alias].cursor() as cursor:
        differing = installed.differing(cursor)
    if not differing or _is_behind(alias):
        return
    for path in sorted(set(differing.values())):
        names = ", ".join(f"{name}()" for name, its in differing.items() if its == path)
        yield Error(
            f"Functions in the database {alias!r} are not this release's: {names}.",
            hint="They were changed there, or another release's migrations were run. Upgrade to "
            "that release, or put these back: "
            f"'manage.py dbshell --database {alias} < {path}'.",
            id="ledger.E010",
        )


def _is_behind(alias: str) -> bool:
    """Whether migrations of the ledger wait, which may bring the functions. ``migrate`` runs this
    check before it applies them, and must not be kept from that."""
    loader = MigrationLoader(connections[alias])
    ours = {key for key in loader.disk_migrations if key[0] == "ledger"}
    return not ours <= set(loader.applied_migrations)
