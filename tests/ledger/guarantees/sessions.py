"""What the server says of the sessions on the test's database."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.ledger.guarantees.locks import HELD


def column(session: psycopg.Connection, sql: str, *parameters: object) -> list[Any]:
    """The first column of what another session sees, committed that is."""
    return [row[0] for row in session.execute(sql, parameters)]


def is_locked(session: psycopg.Connection, key: str) -> bool:
    return bool(session.execute(f"select {HELD}", [key, key]).fetchall())


def ours(session: psycopg.Connection) -> set[int]:
    """The pids of all other sessions on this database."""
    return set(
        column(
            session,
            "select pid from pg_stat_activity where datname = current_database()"
            " and backend_type = 'client backend' and pid <> pg_backend_pid()",
        )
    )
