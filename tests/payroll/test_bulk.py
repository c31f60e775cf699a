"""A month for many employees is one execution that goes on where it was killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import connection

from ledger import check_idempotency_status
from ledger.models import ExecutionStep, TaskExecution
from ledger.testing import Worker
from payroll.bulk import steps_done
from payroll.models import Employee
from payroll.tasks import bulk_calculate_payroll_task
from tests.payroll.company import Books, books, employee_with_week
from tests.payroll.manage import Manage
from tests.workers import ROOT, process_environment, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = ("bulk_calculate_payroll", "--year", "2025", "--month", "10", "--no-parallel")
ALL_PAID = Books(payslips=10, journal_entries=10, payments=10)


@pytest.fixture
def company() -> list[Employee]:
    return [employee_with_week() for _ in range(10)]


@contextmanager
def stopped_at(employee: Employee) -> Iterator[None]:
    """Another session has the employee's row, so that posting for them waits."""
    connection.ensure_connection()
    info = connection.connection.info
    with psycopg.connect(info.dsn, password=info.password) as other:
        other.execute("SELECT FROM payroll_employee WHERE id = %s FOR UPDATE", [employee.pk])
        yield


def ids(company: list[Employee]) -> list[int]:
    return [employee.pk for employee in company]


def key(company: list[Employee]) -> str:
    call = (bulk_calculate_payroll_task.name, [2025, 10, ids(company)])
    return str(check_idempotency_status(*call)["key"])


def wait_for_steps(company: list[Employee], number: int) -> None:
    """Until so many are done, and the next has begun."""

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            )
            return bool(cursor.fetchone()[0])

    wait_until(lambda: steps_done(key(company)).count() == number, what=f"step {number}")
    wait_until(waits, what="the step that is stopped")


def attempts() -> list[int]:
    """The attempt that did each step."""
    return list(ExecutionStep.objects.order_by("id").values_list("attempt", flat=True))


def test_a_worker_killed_at_60_percent_goes_on_at_60_percent(
    company: list[Employee], worker: Worker
) -> None:
    with stopped_at(company[6]):
        result = bulk_calculate_payroll_task.delay(2025, 10, ids(company))
        wait_for_steps(company, 6)
        execution = TaskExecution.objects.get(key=key(company))
        process = psutil.Process(int(execution.worker.rpartition("/")[2]))
        process.kill()
        process.wait(30)

    answer = result.get(timeout=30)
    assert answer["employees"] == 10
    assert len(set(answer["payslip_ids"])) == 10
    assert books() == ALL_PAID
    assert attempts() == 6 * [1] + 4 * [2]
    assert set(steps_done(key(company)).values_list("name", flat=True)) == {
        f"employee {employee.pk}" for employee in company
    }


def test_out_of_time_it_goes_on_in_another_delivery(
    company: list[Employee], worker: Worker
) -> None:
    with stopped_at(company[6]):
        result = bulk_calculate_payroll_task.apply_async(
            (2025, 10, ids(company)), soft_time_limit=1
        )
        worker.wait_for_log("Soft time limit (1s) exceeded")

    assert result.get(timeout=30)["employees"] == 10
    assert books() == ALL_PAID
    assert attempts() == sorted(attempts())
    assert attempts()[-1] > 1


def test_a_command_killed_at_60_percent_goes_on_at_60_percent(
    company: list[Employee], manage: Manage, tmp_path: Path
) -> None:
    shown = tmp_path / "terminal"
    with stopped_at(company[6]), shown.open("wb") as terminal:
        command = subprocess.Popen(
            [sys.executable, "manage.py", *COMMAND],
            cwd=ROOT,
            env=process_environment() | {"FORCE_COLOR": "1"},
            stdout=subprocess.DEVNULL,
            stderr=terminal,
        )
        try:
            wait_for_steps(company, 6)
            wait_until(lambda: b"6/10" in shown.read_bytes(), what="its progress bar")
        finally:
            command.kill()
            command.wait()

    run = manage(*COMMAND)

    assert run.counts == {"done": 4, "skipped": 6, "failed": 0}
    assert run.table["done"] == ["4", "2400.00 EUR"]
    assert books() == ALL_PAID
    assert attempts() == 6 * [1] + 4 * [2]
    execution = TaskExecution.objects.get(task_name=bulk_calculate_payroll_task.name)
    assert (execution.state, execution.attempt) == ("completed", 2)

    again = manage(*COMMAND)
    assert again.counts == {"done": 0, "skipped": 10, "failed": 0}
    assert books() == ALL_PAID


def test_a_command_killed_behind_its_last_payslip_is_completed_by_the_next(
    company: list[Employee], manage: Manage
) -> None:
    manage(*COMMAND)
    execution = TaskExecution.objects.get(key=key(company))
    with connection.cursor() as cursor:  # as a crash in front of the completion leaves it
        cursor.execute("ALTER TABLE ledger_taskexecution DISABLE TRIGGER USER")
        TaskExecution.objects.filter(pk=execution.pk).update(
            state="running", completed_at=None, result=None
        )
        cursor.execute("ALTER TABLE ledger_taskexecution ENABLE TRIGGER USER")

    assert manage(*COMMAND).counts == {"done": 0, "skipped": 10, "failed": 0}
    execution.refresh_from_db()
    assert (execution.state, execution.attempt) == ("completed", 2)
    assert attempts() == 10 * [1]


def test_the_command_and_the_task_are_one_execution(
    company: list[Employee], manage: Manage
) -> None:
    company[9].hourly_rates.all().delete()
    first = manage(*COMMAND)
    assert first.counts == {"done": 9, "skipped": 0, "failed": 1}
    assert f"{company[9]} (id {company[9].pk}): {company[9]} worked on" in first.err

    company[9].hourly_rates.create(valid_from=company[9].hired_on, amount=20)
    bulk_calculate_payroll_task(2025, 10, ids(company))
    assert books() == ALL_PAID
    assert attempts() == 9 * [1] + [2]


def test_while_another_runs_it_the_command_says_so(
    company: list[Employee], manage: Manage, worker: Worker
) -> None:
    with stopped_at(company[6]):
        result = bulk_calculate_payroll_task.delay(2025, 10, ids(company))
        wait_for_steps(company, 6)
        run = manage(*COMMAND)

    assert run.counts == {"done": 0, "skipped": 6, "failed": 4}
    assert "is being executed by another worker at this moment" in run.err
    assert result.get(timeout=30)["employees"] == 10
    assert books() == ALL_PAID
