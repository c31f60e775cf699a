"""Whose session holds a key's run lock, and the end of that session."""

from __future__ import annotations

from django.db import connection

from ledger import current_execution

HELD = (
    "from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
    " and database = (select oid from pg_database where datname = current_database())"
    " and classid::bigint = (ledger_lock_id(%s) >> 32) & 4294967295"
    " and objid::bigint = ledger_lock_id(%s) & 4294967295"
)


def holder(key: str) -> int | None:
    """The pid of the session that holds the key's run lock."""
    with connection.cursor() as cursor:
        cursor.execute(f"select pid {HELD}", [key, key])
        found = cursor.fetchone()
    return found[0] if found else None


def cut(key: str = "") -> None:
    """End that session, as a restart or an administrator would, and wait until it is gone."""
    key = key or current_execution().key
    with connection.cursor() as cursor:
        cursor.execute(f"select pg_terminate_backend(pid, 10000) {HELD}", [key, key])
        assert cursor.fetchall() == [(True,)]
