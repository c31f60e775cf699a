"""A database of its own with a long history in it, made once and kept for the next run."""

from collections.abc import Sequence
from pathlib import Path

import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import sql
from rich.progress import Progress

from ledger.sweep import sweep

HISTORY = (Path(__file__).parent / "history.sql").read_text()
CHUNK = 250_000
TABLES = ("executionevent", "executionstep", "outboxmessage", "taskexecution")


def use(alias: str, rows: int, without: Sequence[str] = ()) -> None:
    """Make the database with this many executions, unless it is there, and ``alias`` stand for it;
    ``without`` some of its indexes.

    An unfinished one is begun anew. An older one is migrated; where that is not enough, because a
    migration was edited before its release, drop the database and run again.
    """
    name = f"ledger_scale_{rows}{'_bare' if without else ''}"
    connections.databases[alias] = connections["default"].settings_dict | {"NAME": name}
    with connections["default"]._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute(
            "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
            [name],
        )
        found = cursor.fetchone()
        if not found or found[0] != "complete":
            cursor.execute(f'drop database if exists "{name}" with (force)')
            cursor.execute(f'create database "{name}"')
    call_command("migrate", database=alias, verbosity=0)
    if not found or found[0] != "complete":
        _fill(alias, rows)
        with connections[alias].cursor() as cursor:
            for index in without:
                cursor.execute(f'drop index "{index}"')
            cursor.execute(f"comment on database \"{name}\" is 'complete'")
    _tidy(alias)


def _fill(alias: str, rows: int) -> None:
    connections[alias].ensure_connection()
    connection = connections[alias].connection
    with connection.cursor() as cursor, Progress(transient=True) as progress:
        bar = progress.add_task(f"{rows:,} executions", total=rows)
        cursor.execute("set synchronous_commit = off")
        cursor.execute("set maintenance_work_mem = '1GB'")
        indexes = _drop_indexes(cursor)
        for first in range(1, rows + 1, CHUNK):
            last = min(first + CHUNK - 1, rows)
            with connection.transaction():
                psycopg.ClientCursor(connection).execute(
                    HISTORY % {"first": first, "last": last, "rows": rows}
                )
            progress.update(bar, completed=last)
        progress.update(bar, description="indexes")
        for definition in indexes:
            cursor.execute(definition)
        for table in TABLES:
            cursor.execute(
                sql.SQL(
                    "select setval(pg_get_serial_sequence({0}, 'id'),"
                    " coalesce((select max(id) from {1}), 1))"
                ).format(f"ledger_{table}", sql.Identifier(f"ledger_{table}"))
            )


def _tidy(alias: str) -> None:
    """As autovacuum and the sweeps keep it."""
    with connections[alias].cursor() as cursor:
        cursor.execute("vacuum analyze")
        sweep(alias)  # the first one counts and seals all of it
        cursor.execute("vacuum analyze")
        cursor.execute("checkpoint")


def _drop_indexes(cursor: psycopg.Cursor[tuple[str, str]]) -> list[str]:
    """All but what a constraint needs; returns the statements that make them again."""
    cursor.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
        " where indrelid = any(%s::regclass[])"
        " and not exists (select from pg_constraint where conindid = indexrelid)",
        [[f"ledger_{table}" for table in TABLES]],
    )
    found = cursor.fetchall()
    for name, _ in found:
        cursor.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
    return [definition for _, definition in found]
