"""The demo's databases: its own, and nobody else's."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from payroll.demo import databases
from payroll.demo.errors import DemoError


@pytest.fixture
def server(db: None) -> Iterator[psycopg.Connection]:
    with databases.server() as session:
        yield session


@pytest.fixture
def name(server: psycopg.Connection) -> Iterator[str]:
    name = f"{connection.settings_dict['NAME']}_{uuid4().hex[:8]}"
    yield name
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def test_two_demos_at_once_have_databases_of_their_own(server: psycopg.Connection) -> None:
    own = connection.settings_dict["NAME"]
    with databases.server() as another, databases.server() as third:
        names = [databases.claim_name(session) for session in (server, another, third)]

    assert names == [f"{own}_demo", f"{own}_demo_2", f"{own}_demo_3"]
    with databases.server() as later:
        assert databases.claim_name(later) == f"{own}_demo_2"


def test_a_database_of_somebody_else_is_left_alone(server: psycopg.Connection, name: str) -> None:
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    with pytest.raises(DemoError, match=f"The database {name} was not made by the demo"):
        databases.make_anew(server, name)

    psycopg.connect(databases.conninfo(name)).close()


def test_a_database_of_the_demo_is_made_anew(server: psycopg.Connection, name: str) -> None:
    databases.make_anew(server, name)
    with psycopg.connect(databases.conninfo(name)) as session:
        session.execute("CREATE TABLE left_over ()")

    with psycopg.connect(databases.conninfo(name)):  # as of a worker that was killed a moment ago
        databases.make_anew(server, name)

    with psycopg.connect(databases.conninfo(name)) as session:
        tables = session.execute("SELECT FROM pg_tables WHERE tablename = 'left_over'")
        assert tables.fetchone() is None


def test_a_role_that_may_not_make_databases_is_told_what_it_needs(
    server: psycopg.Connection, name: str
) -> None:
    role = sql.Identifier(name)
    server.execute(sql.SQL("CREATE ROLE {}").format(role))
    server.execute(sql.SQL("SET ROLE {}").format(role))
    try:
        with pytest.raises(DemoError, match="Grant the role CREATEDB"):
            databases.make_anew(server, name)
    finally:
        server.execute("RESET ROLE")
        server.execute(sql.SQL("DROP ROLE {}").format(role))
