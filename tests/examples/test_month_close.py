"""Killed for real in the middle of a step: what is done stays, what is not is done by the next."""

import os
import signal
from decimal import Decimal

from django.core import mail
from django.db import connection, transaction

from examples.models import Employee, Payslip
from examples.month_close import close_month
from ledger.models import ExecutionStep, OutboxMessage, TaskExecution
from ledger.testing.worker import Workers
from tests.examples.marks import commits
from tests.workers import wait_until

pytestmark = commits


def employees() -> list[Employee]:
    return [
        Employee.objects.create(name=name, salary=Decimal(4000)) for name in ("Ada", "Bob", "Cleo")
    ]


def test_a_killed_worker_is_resumed_behind_the_steps_that_are_done(
    ledger_worker: Workers,
) -> None:
    ada, *_ = employees()
    ledger_worker(include=["examples.month_close", "examples.once"])
    with transaction.atomic(), connection.cursor() as cursor:
        # Bob's payslip cannot be committed while his row is locked: there the worker is killed.
        cursor.execute("select from examples_employee where name = 'Bob' for update")
        result = close_month.delay(2026, 11)
        wait_until(lambda: stopped_at_bob(ada))
        execution = TaskExecution.objects.get(task_name=close_month.name)
        os.kill(int(execution.worker.rpartition("/")[2]), signal.SIGKILL)
    assert result.get(timeout=30) == {"payslips": 3}

    assert sorted(Payslip.objects.values_list("employee__name", flat=True)) == [
        "Ada", "Bob", "Cleo",
    ]  # fmt: skip
    ada_by, bob_by, cleo_by = ExecutionStep.objects.order_by("id").values_list("attempt", flat=True)
    assert (ada_by, cleo_by) == (1, 2)
    assert bob_by in (1, 2)  # the server may commit what it was asked to by one who is dead
    wait_until(OutboxMessage.objects.exclude(published_at=None).exists)


def stopped_at_bob(ada: Employee) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_locks where not granted")
        [waiting] = cursor.fetchone()
    return bool(waiting) and Payslip.objects.filter(employee=ada).exists()


def test_a_second_delivery_posts_nothing_and_announces_nothing() -> None:
    employees()
    assert close_month(2026, 11) == close_month(2026, 11) == {"payslips": 3}
    assert Payslip.objects.count() == 3
    assert OutboxMessage.objects.count() == 1
    assert mail.outbox == []  # it was announced to a worker, not here
