"""Each task posts once: the ledger answers duplicates, the payslips know what it has forgotten."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection
from kombu.utils import json
from pytest_django import Settings

from ledger import DuplicateExecution, check_idempotency_status, clear_idempotency_key
from ledger.models import ExecutionStep, OutboxMessage, TaskExecution
from ledger.testing import Clock
from payroll.errors import NothingPosted, PaymentNotPending, PayrollIncomplete, UnknownEmployee
from payroll.models import Employee, JournalEntry, Payment, Payslip, WorkLog
from payroll.services import fingerprint, post_payslip
from payroll.tasks import (
    bulk_calculate_payroll_task,
    chase_payments,
    financial_transaction,
    generate_missing_payroll_task,
    notify_payslip,
    process_payroll,
    recalculate_monthly_payroll_task,
)
from tests.payroll.company import MONDAY, OCTOBER, Books, books, employee_with_week
from tests.payroll.factories import EmployeeFactory, WorkLogFactory
from tests.workers import Workers, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = [
    process_payroll,
    notify_payslip,
    chase_payments,
    financial_transaction,
    generate_missing_payroll_task,
    recalculate_monthly_payroll_task,
    bulk_calculate_payroll_task,
]


@contextmanager
def held(employee: Employee) -> Iterator[None]:
    """Another session has the employee's row, so that posting for them waits."""
    connection.ensure_connection()
    info = connection.connection.info
    with psycopg.connect(info.dsn, password=info.password) as other:
        other.execute("SELECT FROM payroll_employee WHERE id = %s FOR UPDATE", [employee.pk])
        yield


@pytest.fixture
def someone() -> Employee:
    return employee_with_week()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_has_a_name_that_does_not_move_with_its_module(task: Any) -> None:
    assert task.name == f"payroll.tasks.{task.__name__}"


def test_payroll_processed_twice_is_one_payslip_and_the_same_answer(someone: Employee) -> None:
    first = process_payroll(someone.pk, 2025, 10)
    second = process_payroll(someone.pk, month=10, year=2025)

    assert books() == Books(payslips=1, journal_entries=1, payments=1)
    assert first == second
    payslip = Payslip.objects.get()
    assert first == {
        "payslip_id": payslip.pk,
        "employee_id": someone.pk,
        "month": "2025-10",
        "sequence": 1,
        "kind": "regular",
        "minutes": 2400,
        "gross": "800.00",
        "net": "600.00",
        "currency": "EUR",
        "payment_id": payslip.payment.pk,
        "issues": 0,
    }
    assert json.loads(json.dumps(first)) == first


def test_each_month_and_each_employee_is_processed_for_itself(someone: Employee) -> None:
    process_payroll(someone.pk, 2025, 10)
    process_payroll(someone.pk, 2025, 9)
    process_payroll(employee_with_week().pk, 2025, 10)

    assert books() == Books(payslips=3, journal_entries=2, payments=2)


@pytest.mark.parametrize("forget", ["expired", "cleared"])
def test_a_month_that_the_ledger_has_forgotten_is_not_posted_again(
    someone: Employee, ledger_clock: Clock, settings: Settings, forget: str
) -> None:
    """The ledger remembers for 72 hours, the payslip for ever."""
    settings.PAYROLL_FOLLOW_UPS = True
    first = process_payroll(someone.pk, 2025, 10)
    follow_ups = OutboxMessage.objects.count()
    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5))
    if forget == "expired":
        ledger_clock.forward(hours=73)
    else:
        clear_idempotency_key(process_payroll.name, [someone.pk, 2025, 10], reason="late hours")

    assert process_payroll(someone.pk, 2025, 10) == first
    assert books() == Books(payslips=1, journal_entries=1, payments=1)
    assert OutboxMessage.objects.count() == follow_ups > 0
    why = fingerprint(someone.pk, OCTOBER)
    assert recalculate_monthly_payroll_task(someone.pk, 2025, 10, why)["kind"] == "correction"


def test_a_failure_is_not_cached(someone: Employee) -> None:
    someone.hourly_rates.all().delete()
    with pytest.raises(Exception, match="no hourly rate"):
        process_payroll(someone.pk, 2025, 10)
    status = check_idempotency_status("payroll.tasks.process_payroll", [someone.pk, 2025, 10])
    assert (status["state"], status["executed"]) == ("failed", False)
    assert books() == Books(0, 0, 0)

    someone.hourly_rates.create(valid_from=someone.hired_on, amount=Decimal(20))
    assert process_payroll(someone.pk, 2025, 10)["net"] == "600.00"


def test_an_id_written_as_text_is_refused_instead_of_being_paid_under_another_key(
    someone: Employee,
) -> None:
    process_payroll(someone.pk, 2025, 10)
    for other_spelling in (str(someone.pk), float(someone.pk), Decimal(someone.pk)):
        with pytest.raises(UnknownEmployee):
            process_payroll(other_spelling, 2025, 10)  # type: ignore[arg-type]
    assert books() == Books(payslips=1, journal_entries=1, payments=1)


@pytest.mark.parametrize("arguments", [(1, 2025, 13), (1, "2025", 10), (1, 1969, 1)])
def test_a_month_that_does_not_exist_fails_before_anything_is_written(
    arguments: tuple[Any, ...],
) -> None:
    with pytest.raises(Exception, match="is not a month"):
        process_payroll(*arguments)
    assert books() == Books(0, 0, 0)


def test_an_unknown_employee_fails() -> None:
    with pytest.raises(UnknownEmployee):
        process_payroll(404, 2025, 10)


def test_a_payment_is_sent_once_and_asking_again_is_an_error(someone: Employee) -> None:
    payment = post_payslip(someone.pk, OCTOBER).payment

    assert financial_transaction(payment.pk) == {
        "payment_id": payment.pk,
        "amount": "600.00",
        "currency": "EUR",
        "status": "sent",
        "bank_number": None,
    }
    with pytest.raises(DuplicateExecution, match="already executed"):
        financial_transaction(payment.pk)
    assert JournalEntry.objects.filter(payment=payment).count() == 1


def test_a_payment_is_known_as_sent_for_ever(someone: Employee, ledger_clock: Clock) -> None:
    payment = post_payslip(someone.pk, OCTOBER).payment
    financial_transaction(payment.pk)
    ledger_clock.forward(days=10_000)

    with pytest.raises(DuplicateExecution, match="already executed"):
        financial_transaction(payment.pk)


def test_a_payment_sent_outside_the_task_is_not_sent_by_it(someone: Employee) -> None:
    payment = post_payslip(someone.pk, OCTOBER).payment
    Payment.objects.filter(pk=payment.pk).update(status="sent", sent_at=payment.created_at)

    with pytest.raises(PaymentNotPending):
        financial_transaction(payment.pk)
    assert not JournalEntry.objects.filter(payment=payment).exists()


def test_missing_payroll_and_payroll_have_one_key_between_them(someone: Employee) -> None:
    """Whichever comes first, the month is posted once."""
    first = generate_missing_payroll_task(someone.pk, 2025, 10)
    assert process_payroll(someone.pk, 2025, 10) == first

    other = employee_with_week()
    process_payroll(other.pk, 2025, 10)
    assert generate_missing_payroll_task(other.pk, 2025, 10) == {"payslip_id": None}
    assert books() == Books(payslips=2, journal_entries=2, payments=2)


def test_a_recalculation_asked_for_twice_posts_one_correction(someone: Employee) -> None:
    process_payroll(someone.pk, 2025, 10)
    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=2)
    why = fingerprint(someone.pk, OCTOBER)

    first = recalculate_monthly_payroll_task(someone.pk, 2025, 10, why)
    assert recalculate_monthly_payroll_task(someone.pk, 2025, 10, why) == first
    assert (first["kind"], first["sequence"], first["gross"]) == ("correction", 2, "60.00")
    assert books() == Books(payslips=2, journal_entries=2, payments=2)


def test_a_new_reason_to_recalculate_is_not_swallowed(someone: Employee) -> None:
    process_payroll(someone.pk, 2025, 10)
    for day in (5, 6):
        WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=day), hours=2)
        recalculate_monthly_payroll_task(someone.pk, 2025, 10, fingerprint(someone.pk, OCTOBER))

    assert [p.gross for p in Payslip.objects.order_by("sequence")] == [800, 60, 60]


def test_a_month_that_comes_back_to_what_it_was_is_recalculated_again(someone: Employee) -> None:
    process_payroll(someone.pk, 2025, 10)
    late = WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=2)
    for _ in range(2):
        recalculate_monthly_payroll_task(someone.pk, 2025, 10, fingerprint(someone.pk, OCTOBER))
        WorkLog.objects.filter(pk=late.pk).delete()

    assert [p.gross for p in Payslip.objects.order_by("sequence")] == [800, 60, -60]


def test_nothing_to_correct_is_an_answer_of_its_own(someone: Employee) -> None:
    process_payroll(someone.pk, 2025, 10)
    why = fingerprint(someone.pk, OCTOBER)
    assert recalculate_monthly_payroll_task(someone.pk, 2025, 10, why) == {"payslip_id": None}


def test_a_month_without_payslip_cannot_be_recalculated(someone: Employee) -> None:
    with pytest.raises(NothingPosted):
        recalculate_monthly_payroll_task(someone.pk, 2025, 10, "")


def test_in_bulk_those_who_were_processed_before_are_not_posted_again(someone: Employee) -> None:
    before = process_payroll(someone.pk, 2025, 10)
    other = employee_with_week()

    result = bulk_calculate_payroll_task(2025, 10, [other.pk, someone.pk])

    assert result["employees"] == 2
    assert result["payslip_ids"][1] == before["payslip_id"]
    assert books() == Books(payslips=2, journal_entries=2, payments=2)


def test_in_bulk_a_payslip_is_not_posted_again_though_its_key_has_expired(
    someone: Employee, ledger_clock: Clock
) -> None:
    before = process_payroll(someone.pk, 2025, 10)
    ledger_clock.forward(hours=73)

    assert bulk_calculate_payroll_task(2025, 10, [someone.pk])["payslip_ids"] == [
        before["payslip_id"]
    ]
    assert books() == Books(payslips=1, journal_entries=1, payments=1)


def test_in_bulk_one_failure_keeps_nobody_else_from_being_paid(someone: Employee) -> None:
    without_rate = EmployeeFactory.create(rate=None)
    WorkLogFactory.create(employee=without_rate)
    ids = [without_rate.pk, someone.pk]

    with pytest.raises(PayrollIncomplete, match=r"1 of 2 employees .* no hourly rate") as failure:
        bulk_calculate_payroll_task(2025, 10, ids)
    assert list(failure.value.failures) == [without_rate.pk]
    assert books() == Books(payslips=1, journal_entries=1, payments=1)

    without_rate.hourly_rates.create(valid_from=without_rate.hired_on, amount=Decimal(20))
    assert bulk_calculate_payroll_task(2025, 10, ids)["employees"] == 2
    assert books() == Books(payslips=2, journal_entries=2, payments=2)
    steps = ExecutionStep.objects.order_by("id").values_list("name", "attempt")
    assert list(steps) == [(f"employee {someone.pk}", 1), (f"employee {without_rate.pk}", 2)]


def test_a_worker_posts_once_what_was_published_three_times(
    someone: Employee, workers: Workers
) -> None:
    workers.start(concurrency=2)
    results = [process_payroll.delay(someone.pk, 2025, 10) for _ in range(3)]

    answers = [result.get(timeout=30) for result in results]

    assert answers[0] == answers[1] == answers[2]
    assert books() == Books(payslips=1, journal_entries=1, payments=1)


def test_payroll_of_a_killed_worker_is_posted_once_by_another(
    someone: Employee, workers: Workers
) -> None:
    """The row lock of another session keeps the first worker in the middle of the body."""
    first = workers.start(visibility_timeout=1)
    with held(someone):
        result = process_payroll.delay(someone.pk, 2025, 10)
        wait_until(TaskExecution.objects.filter(state="running").exists)
        first.kill()
    workers.start(visibility_timeout=1)

    assert result.get(timeout=30)["sequence"] == 1
    assert books() == Books(payslips=1, journal_entries=1, payments=1)
    assert TaskExecution.objects.get().attempt == 2
