"""A payslip that is committed is one whose payment and notification are sent, whatever dies."""

from datetime import timedelta
from typing import Any

import pytest
from celery.signals import before_task_publish
from django.db import transaction
from pytest_django import Settings

from ledger.models import OutboxMessage, TaskExecution
from ledger.tasks import relay
from ledger.testing import Clock, Worker, crash_at
from ledger.testing.worker import Workers
from payroll.bank.process import BankProcess
from payroll.models import Employee, Payment, Payslip
from payroll.services import fingerprint, post_payslip
from payroll.tasks import (
    bulk_calculate_payroll_task,
    chase_payments,
    notify_payslip,
    process_payroll,
    recalculate_monthly_payroll_task,
)
from tests.payroll.company import MONDAY, OCTOBER, Books, books, employee_with_week
from tests.payroll.factories import EmployeeFactory, WorkLogFactory
from tests.payroll.payments.conftest import IBAN
from tests.payroll.payments.mailbox import Mailbox
from tests.payroll.payments.scene import booked, in_the_books, wait_for
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = {"BANK_HONOURS_KEYS": "true"}


@pytest.fixture
def someone() -> Employee:
    number = EmployeeFactory.build().number
    return employee_with_week(number=number, iban=IBAN, email=f"{number}@example.com")


@pytest.fixture
def unread(_workers: Workers) -> None:
    """Nobody takes what is published: a worker kept for this module's tests is ended."""
    for worker in _workers.started:
        worker.kill()


@pytest.fixture
def published() -> Any:
    """The tasks that this process publishes, by name."""
    names: list[str] = []

    def note(headers: dict[str, Any], **signal: Any) -> None:
        names.append(headers["task"])

    before_task_publish.connect(note, weak=False)
    yield names
    before_task_publish.disconnect(note)


def ended(task: Any) -> bool:
    return TaskExecution.objects.filter(task_name=task.name, state="completed").exists()


def follow_ups() -> list[str]:
    names = OutboxMessage.objects.order_by("id").values_list("task_name", flat=True)
    return [name.removeprefix("payroll.tasks.") for name in names]


def test_a_payslip_is_paid_and_the_employee_told(
    worker: Worker, bank: BankProcess, mailbox: Mailbox, someone: Employee
) -> None:
    process_payroll.delay(someone.pk, 2025, 10).get(timeout=30)

    payment = Payment.objects.get()
    wait_for(payment, "completed")
    wait_until(lambda: mailbox.to(someone.email))
    wait_until(lambda: ended(notify_payslip))
    assert booked(bank, payment) == 1
    assert in_the_books(payment)[::2] == ("sent", 1)
    [message] = mailbox.to(someone.email)
    assert message["Subject"] == "Your payslip for October 2025"
    text = message.get_payload(decode=True).decode()
    assert "Dear Dana Weber," in text
    assert "800.00 EUR gross, 600.00 EUR net" in text


def test_follow_ups_of_a_worker_killed_after_its_commit_are_sent_by_the_relay(
    worker: Worker,
    bank: BankProcess,
    mailbox: Mailbox,
    someone: Employee,
    ledger_clock: Clock,
) -> None:
    with crash_at("after_commit") as crash:
        result = process_payroll.delay(someone.pk, 2025, 10)
    crash.wait()
    result.get(timeout=30)  # a duplicate by now, which publishes nothing
    assert OutboxMessage.objects.filter(published_at=None).count() == 2

    ledger_clock.forward(seconds=11)
    assert relay() == 2
    assert relay() == 0

    payment = Payment.objects.get()
    wait_for(payment, "completed")
    wait_until(lambda: ended(notify_payslip))
    assert booked(bank, payment) == 1
    assert len(mailbox.to(someone.email)) == 1
    assert books() == Books(payslips=1, journal_entries=2, payments=1)


def test_follow_ups_survive_a_worker_killed_before_its_commit_and_are_sent_once(
    worker: Worker, bank: BankProcess, mailbox: Mailbox, someone: Employee
) -> None:
    with crash_at("before_commit") as crash:
        result = process_payroll.delay(someone.pk, 2025, 10)
    crash.wait()
    result.get(timeout=30)

    payment = Payment.objects.get()
    wait_for(payment, "completed")
    wait_until(lambda: ended(notify_payslip))
    assert OutboxMessage.objects.count() == 2
    assert booked(bank, payment) == 1
    assert len(mailbox.to(someone.email)) == 1


def test_a_notification_sent_again_after_a_crash_is_the_same_message(
    worker: Worker, mailbox: Mailbox, someone: Employee
) -> None:
    payslip = post_payslip(someone.pk, OCTOBER)
    with crash_at("in_body") as crash:
        result = notify_payslip.delay(payslip.pk)
    crash.wait()

    assert result.get(timeout=30) == {"payslip_id": payslip.pk, "to": someone.email}
    first, second = mailbox.to(someone.email)
    assert first["Message-ID"] == second["Message-ID"]


def test_a_notification_outlives_a_mail_server_that_does_not_answer(
    worker: Worker, mailbox: Mailbox, someone: Employee
) -> None:
    payslip = post_payslip(someone.pk, OCTOBER)
    mailbox.refuses, mailbox.drops = 1, 1

    notify_payslip.delay(payslip.pk).get(timeout=30)

    first, second = mailbox.to(someone.email)
    assert first["Message-ID"] == second["Message-ID"]
    assert TaskExecution.objects.get(task_name=notify_payslip.name).attempt == 3


def test_an_address_that_does_not_exist_is_not_tried_again(
    worker: Worker, mailbox: Mailbox, someone: Employee
) -> None:
    payslip = post_payslip(someone.pk, OCTOBER)
    mailbox.recipients_refused.add(someone.email)

    with pytest.raises(Exception, match="nobody here"):
        notify_payslip.delay(payslip.pk).get(timeout=30)
    assert TaskExecution.objects.get(task_name=notify_payslip.name).attempt == 1


def test_a_payslip_that_is_rolled_back_sends_nothing(
    unread: None, published: list[str], someone: Employee, settings: Settings
) -> None:
    settings.PAYROLL_FOLLOW_UPS = True
    with transaction.atomic():
        process_payroll(someone.pk, 2025, 10)
        assert OutboxMessage.objects.count() == 2
        transaction.set_rollback(True)

    assert (follow_ups(), published) == ([], [])


def test_nothing_is_sent_before_the_commit_and_all_of_it_after(
    unread: None, published: list[str], someone: Employee, settings: Settings
) -> None:
    settings.PAYROLL_FOLLOW_UPS = True
    with transaction.atomic():
        process_payroll(someone.pk, 2025, 10)
        assert published == []

    names = ["payroll.tasks.financial_transaction", "payroll.tasks.notify_payslip"]
    assert published == names
    process_payroll(someone.pk, 2025, 10)
    assert published == names


def test_whatever_posts_a_payslip_follows_it_up(
    unread: None, someone: Employee, settings: Settings
) -> None:
    settings.PAYROLL_FOLLOW_UPS = True
    bulk_calculate_payroll_task(2025, 10, [someone.pk])
    assert follow_ups() == ["financial_transaction", "notify_payslip"]

    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=2)
    recalculate_monthly_payroll_task(someone.pk, 2025, 10, fingerprint(someone.pk, OCTOBER))
    assert follow_ups() == 2 * ["financial_transaction", "notify_payslip"]


def test_who_has_no_address_is_paid_and_not_told_and_who_earned_nothing_is_told_alone(
    unread: None, settings: Settings
) -> None:
    settings.PAYROLL_FOLLOW_UPS = True
    process_payroll(employee_with_week(iban=IBAN).pk, 2025, 10)
    assert follow_ups() == ["financial_transaction"]

    process_payroll(EmployeeFactory.create(email="idle@example.com").pk, 2025, 10)
    assert follow_ups() == ["financial_transaction", "notify_payslip"]


def test_without_a_bank_nothing_is_sent_unless_that_is_asked_for(
    published: list[str], someone: Employee, settings: Settings
) -> None:
    assert not settings.PAYROLL_FOLLOW_UPS
    process_payroll(someone.pk, 2025, 10)

    assert (follow_ups(), published) == ([], [])


def test_a_correction_is_called_one(mailoutbox: list[Any], someone: Employee) -> None:
    process_payroll(someone.pk, 2025, 10)
    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=2)
    recalculate_monthly_payroll_task(someone.pk, 2025, 10, fingerprint(someone.pk, OCTOBER))

    notify_payslip(Payslip.objects.get(kind="correction").pk)
    [message] = mailoutbox
    assert message.subject == "A correction of your payslip for October 2025"
    assert "60.00 EUR gross, 45.00 EUR net" in message.body


def test_somebody_without_an_address_is_told_nothing(mailoutbox: list[Any]) -> None:
    payslip = post_payslip(employee_with_week().pk, OCTOBER)

    assert notify_payslip(payslip.pk) == {"payslip_id": payslip.pk, "to": ""}
    assert mailoutbox == []


def test_without_follow_ups_nothing_is_chased(someone: Employee, settings: Settings) -> None:
    post_payslip(someone.pk, OCTOBER)
    assert chase_payments() == {}

    settings.PAYROLL_FOLLOW_UPS = True
    assert chase_payments() == {"settled": 0, "sent": 0, "held": 0, "unasked": 1}


def test_beat_publishes_what_a_crash_left_and_looks_after_payments(
    settings: Settings,
) -> None:
    schedule = {e["task"]: e["schedule"] for e in settings.CELERY_BEAT_SCHEDULE.values()}
    assert schedule["ledger.tasks.relay"] == 10
    assert schedule["payroll.tasks.chase_payments"] == 60
