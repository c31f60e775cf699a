from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections


def check_databases(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> Sequence[CheckMessage]:
    """The protocol reads what was committed before each statement: READ COMMITTED only. Asks the
    databases that ``manage.py check --database`` names, or all of them from Django 6.1 on."""
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
