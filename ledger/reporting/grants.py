"""A role that may read the views, and nothing else of the ledger."""

from __future__ import annotations

from django.db import ProgrammingError, connections, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

from ..exceptions import LedgerError
from .models import (
    Attempt,
    DailySummary,
    Decision,
    Duplicate,
    OpenItem,
    RunDetails,
    RunHistory,
    TaskHealth,
)

VIEWS = [
    model._meta.db_table
    for model in (
        RunHistory,
        Attempt,
        DailySummary,
        TaskHealth,
        Duplicate,
        Decision,
        OpenItem,
    )
]
DETAILS = RunDetails._meta.db_table
FUNCTIONS = [
    "ledger_now()",
    "ledger_lock_id(text)",
    "ledger_locked()",
    "ledger_task_health_between(timestamptz, timestamptz)",
]
_MAY_DO_MORE = """
    select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = current_schema() and c.relkind in ('r', 'p') and c.relname like 'ledger\\_%%'
        and has_table_privilege(%s, c.oid, 'select, insert, update, delete, truncate')
    order by 1
"""


def grant(database: str, role: str, *, details: bool, create: bool) -> None:
    """Let ``role`` read the views; ``details``: arguments, results and errors too, otherwise not
    any more. All or nothing. ``LedgerError`` where there is no such role (and not ``create``),
    where it may do more than that already, or where the current user may not grant it."""
    try:
        with transaction.atomic(using=database), connections[database].cursor() as cursor:
            _find(cursor, role, create)
            _refuse_more(cursor, role)
            _grant(cursor, role, details)
    except ProgrammingError as error:
        raise LedgerError(
            f"{connections[database].settings_dict['USER']!r} may not do this: "
            f"{str(error).splitlines()[0]}. Run it as the owner of the ledger's tables"
            + (", who may create roles." if create else ".")
        ) from error


def _find(cursor: CursorWrapper, role: str, create: bool) -> None:
    cursor.execute("select from pg_roles where rolname = %s", [role])
    if cursor.fetchone() is not None:
        return
    if not create:
        raise LedgerError(
            f"There is no role {role!r}. Create it, CREATE ROLE {_quoted(role)} LOGIN, or say "
            "--create: then it cannot log in, and is granted to those who can."
        )
    cursor.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))


def _refuse_more(cursor: CursorWrapper, role: str) -> None:
    cursor.execute(_MAY_DO_MORE, [role])
    tables = [table for (table,) in cursor]
    if tables:
        raise LedgerError(
            f"{role!r} may use the ledger's tables themselves ({', '.join(tables)}), as a "
            "superuser, a member of another role, or by a grant. Choose a role that may not."
        )


def _grant(cursor: CursorWrapper, role: str, details: bool) -> None:
    to = sql.Identifier(role)
    cursor.execute("select current_schema()")
    schema = sql.Identifier(cursor.fetchone()[0])
    cursor.execute(sql.SQL("grant usage on schema {} to {}").format(schema, to))
    for view in VIEWS:
        cursor.execute(sql.SQL("grant select on {} to {}").format(sql.Identifier(view), to))
    for function in FUNCTIONS:
        cursor.execute(sql.SQL("grant execute on function {} to {}").format(_sql(function), to))
    change = "grant select on {} to {}" if details else "revoke select on {} from {}"
    cursor.execute(sql.SQL(change).format(sql.Identifier(DETAILS), to))
    for view in VIEWS:  # a grantor without the right to grant gets a warning only
        cursor.execute("select has_table_privilege(%s, %s, 'select')", [role, view])
        if cursor.fetchone() != (True,):
            raise ProgrammingError(f"no privileges were granted for {view}")


def _sql(text: str) -> sql.SQL:
    return sql.SQL(text)


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'
