"""A month that was paid as the demo wants it, for tests to spoil."""

import os

import psycopg
import pytest
from django.db import connection

from payroll.demo import databases
from payroll.demo.demo import WITHOUT_A_NET
from payroll.models import Employee
from payroll.tasks import process_payroll
from tests.payroll.company import employee_with_week


@pytest.fixture
def session(db: None) -> psycopg.Connection:
    """The test's own session, as the demo's checks use one. Everything is rolled back."""
    connection.ensure_connection()
    session: psycopg.Connection = connection.connection
    return session


@pytest.fixture
def paid(session: psycopg.Connection) -> list[Employee]:
    """Three employees with 40 hours at 20.00 EUR, each told twice and paid once for October."""
    databases.run_file(session, "tables.sql")
    employees = [employee_with_week() for _ in range(3)]
    for place, employee in enumerate(employees):
        session.execute(
            "INSERT INTO demo_expected VALUES (%s, 'EUR', 2400, 800, 200, 600)", [employee.number]
        )
        for again in range(2):
            message = [2 * place + again, f"message {place}", employee.number]
            session.execute("INSERT INTO demo_message VALUES (%s, %s, %s)", message)
            process_payroll(employee.pk, 2025, 10)
            session.execute(
                "INSERT INTO demo_delivery (task_id, process, session, outcome)"
                " VALUES (%s, %s, pg_backend_pid(), 'SUCCESS')",
                [message[1], os.getpid()],
            )
    # What the database would refuse to have spoiled has been checked by now, and is not again.
    session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    session.execute("SET LOCAL session_replication_role = replica")
    session.execute(WITHOUT_A_NET)
    return employees
