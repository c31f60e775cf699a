"""Databases of the demo's own, on the configured server. None but its own is ever dropped."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from .errors import DemoError

COMMENT = "Made by manage.py demo, which drops it and makes it anew."
LOCK = 0x64656D6F
DJANGOS_OWN = {"pool", "assume_role", "isolation_level", "server_side_binding"}


def conninfo(database: str | None = None) -> str:
    """How to reach a database of the configured server, by default the configured one itself."""
    configured = settings.DATABASES["default"]
    options = {k: v for k, v in configured.get("OPTIONS", {}).items() if k not in DJANGOS_OWN}
    named = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
    given: dict[str, Any] = {key: configured[name] for key, name in named.items()}
    present = {key: value for key, value in given.items() if value}
    return make_conninfo(dbname=database or configured["NAME"], **options, **present)


@contextmanager
def server() -> Iterator[psycopg.Connection]:
    """A session on the configured database, which is not touched; it only leads to the others.

    Raises DemoError if the server cannot be reached, or not any more.
    """
    try:
        connection = psycopg.connect(conninfo(), autocommit=True)
    except psycopg.OperationalError as error:
        raise DemoError(
            f"The database server cannot be reached: {error}\n"
            "Start it, or unset DATABASE_URL to use the embedded one."
        ) from error
    try:
        with connection:
            yield connection
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DemoError(f"The database server went away in the middle: {error}") from error


def claim_name(session: psycopg.Connection) -> str:
    """A name that no other running demo uses, for as long as the session lasts."""
    base = str(settings.DATABASES["default"]["NAME"])[:40]
    for number in itertools.count(1):
        lock = session.execute("SELECT pg_try_advisory_lock(%s, %s)", [LOCK, number]).fetchone()
        if lock and lock[0]:
            return f"{base}_demo" if number == 1 else f"{base}_demo_{number}"
    raise AssertionError("numbers do not end")


def make_anew(session: psycopg.Connection, name: str, template: str | None = None) -> None:
    """Drop the database if it is the demo's, and create it, empty or as a copy of another.

    Raises DemoError if somebody else made it, or if databases may not be made.
    """
    found = session.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name]
    ).fetchone()
    if found and found[0] != COMMENT:
        raise DemoError(
            f"The database {name} was not made by the demo, which therefore leaves it alone."
            " Rename it, or set DATABASE_URL to a database of another name."
        )
    database = sql.Identifier(name)
    copied = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
    try:
        session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        session.execute(sql.SQL("CREATE DATABASE {}{}").format(database, copied))
        session.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, COMMENT))
    except psycopg.errors.InsufficientPrivilege as error:
        raise DemoError(
            f"The demo may not make its database {name}: {error} Grant the role CREATEDB,"
            " or unset DATABASE_URL to use the embedded server."
        ) from error


def run_file(session: psycopg.Connection, name: str, **parameters: Any) -> psycopg.Cursor[Any]:
    """Run one of the .sql files that lie here."""
    return session.execute(read_file(name), parameters or None)


def read_file(name: str) -> bytes:
    return (Path(__file__).parent / name).read_bytes()
