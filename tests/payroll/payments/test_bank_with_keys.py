"""A bank that honours idempotency keys: at least once, and booked once whatever dies in between."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from celery.signals import before_task_publish
from django.utils import timezone

from core.celery import app
from ledger import DuplicateExecution, clear_idempotency_key
from ledger.models import ExecutionStep
from ledger.testing import Worker, crash_at
from payroll.bank.process import BankProcess
from payroll.chasing import chase_payments
from payroll.models import Employee, Payment
from payroll.services import post_payslip
from payroll.tasks import financial_transaction
from tests.payroll.bank.sending import ANOTHER_IBAN
from tests.payroll.company import OCTOBER, balances, employee_with_week
from tests.payroll.payments.conftest import IBAN
from tests.payroll.payments.scene import (
    booked,
    bookings,
    execution,
    in_the_books,
    journal_closed,
    kill,
    last_try,
    status,
    wait_for,
)
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = {"BANK_HONOURS_KEYS": "true", "BANK_TIMEOUT": "30"}
LATER = timedelta(days=1)


def lose_every_answer(bank: BankProcess, payment: Payment) -> None:
    """It is booked, and the payment's execution fails without hearing of it."""
    bank.misbehave({"fault": "drop_after"})
    with pytest.raises(Exception, match="was sent to the bank and not answered"):
        last_try(payment).get(timeout=30)
    bank.misbehave()


def be_down_for_every_try(bank: BankProcess, payment: Payment) -> None:
    bank.kill()
    with pytest.raises(Exception, match="was not reached"):
        last_try(payment).get(timeout=30)
    bank.start()


def test_a_payment_is_booked_by_the_bank_and_the_books_follow_it(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    answer = financial_transaction.delay(payment.pk).get(timeout=30)

    [booking] = bookings(bank, payment)
    assert (booking["amount"], booking["currency"], booking["iban"]) == ("600.00", "EUR", IBAN)
    assert answer == {
        "payment_id": payment.pk,
        "amount": "600.00",
        "currency": "EUR",
        "status": "sent",
        "bank_number": booking["number"],
    }
    assert in_the_books(payment) == ("sent", booking["number"], 1)
    assert balances()["bank"] == -600
    assert execution(payment).guarantee == "at_least_once"


def test_sending_it_again_is_an_error_and_the_bank_is_not_asked(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    financial_transaction.delay(payment.pk).get(timeout=30)
    bank.misbehave({"fault": "error_before"})

    with pytest.raises(DuplicateExecution, match="already executed"):
        financial_transaction.delay(payment.pk).get(timeout=30)
    assert bank.faults()["rules"][0]["struck"] == 0


def test_a_worker_killed_between_the_answer_and_our_commit_neither_sends_twice_nor_forgets(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    with journal_closed() as wait_for_the_answer:
        financial_transaction.delay(payment.pk)
        wait_for_the_answer()
        assert booked(bank, payment) == 1
        kill(payment)

    wait_for(payment, "completed")
    [booking] = bookings(bank, payment)
    assert in_the_books(payment) == ("sent", booking["number"], 1)
    assert execution(payment).attempt == 2


def test_a_worker_killed_before_the_answer_sends_again_and_gets_the_same_receipt(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.misbehave({"fault": "delay_after=60", "count": 1})
    financial_transaction.delay(payment.pk)
    wait_until(lambda: booked(bank, payment))
    kill(payment)

    wait_for(payment, "completed")
    [booking] = bookings(bank, payment)
    assert in_the_books(payment) == ("sent", booking["number"], 1)


def test_a_worker_killed_after_our_commit_neither_sends_nor_posts_again(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.misbehave({"fault": "drop_before", "count": 0})
    with crash_at("in_body") as crash:
        financial_transaction.delay(payment.pk)
    crash.wait()
    bank.misbehave({"fault": "error_before"})

    wait_for(payment, "completed")
    assert bank.faults()["rules"][0]["struck"] == 0
    assert booked(bank, payment) == 1
    assert in_the_books(payment)[::2] == ("sent", 1)
    assert ExecutionStep.objects.get(execution=execution(payment)).attempt == 1


def test_a_lost_answer_is_asked_for_again_by_itself(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.misbehave({"fault": "drop_after", "count": 1})

    financial_transaction.delay(payment.pk).get(timeout=30)
    assert booked(bank, payment) == 1
    assert in_the_books(payment)[::2] == ("sent", 1)
    assert execution(payment).attempt == 2


def test_an_execution_that_was_cleared_sends_with_the_key_of_the_first(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    lose_every_answer(bank, payment)
    assert clear_idempotency_key(financial_transaction.name, [payment.pk], reason="impatience")

    financial_transaction.delay(payment.pk).get(timeout=30)
    assert booked(bank, payment) == 1
    assert in_the_books(payment)[::2] == ("sent", 1)


def test_an_account_that_changes_while_an_answer_is_lost_is_not_the_one_it_is_sent_to_again(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    lose_every_answer(bank, payment)
    Employee.objects.update(iban=ANOTHER_IBAN)

    financial_transaction.delay(payment.pk).get(timeout=30)
    [booking] = bookings(bank, payment)
    assert booking["iban"] == IBAN
    assert in_the_books(payment) == ("sent", booking["number"], 1)


def test_an_account_that_changes_while_the_bank_is_down_is_the_one_it_is_sent_to(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    be_down_for_every_try(bank, payment)
    Employee.objects.update(iban=ANOTHER_IBAN)

    financial_transaction.delay(payment.pk).get(timeout=30)
    assert [booking["iban"] for booking in bookings(bank, payment)] == [ANOTHER_IBAN]


def test_a_payment_whose_key_the_bank_knows_for_another_account_may_have_been_booked(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    """As one may be that was first sent before its account was kept beside the key."""
    lose_every_answer(bank, payment)
    Payment.objects.update(bank_iban=ANOTHER_IBAN)

    with pytest.raises(Exception, match="knows another transfer by the key") as error:
        last_try(payment).get(timeout=30)
    assert type(error.value).__name__ == "BankOutcomeUnknown"
    assert f"ask the bank for payment-{payment.pk}" in str(error.value)


def test_a_payment_that_failed_while_the_bank_was_down_leaves_once_it_is_back(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    be_down_for_every_try(bank, payment)

    assert chase_payments(financial_transaction)["sent"] == []  # it has only just failed
    assert chase_payments(financial_transaction, now=timezone.now() + LATER)["sent"] == [payment]
    wait_for(payment, "completed")
    assert booked(bank, payment) == 1
    assert in_the_books(payment)[::2] == ("sent", 1)


def test_a_payment_that_no_worker_takes_is_published_once_an_hour(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    be_down_for_every_try(bank, payment)
    worker.kill()
    failed_at, messages = timezone.now(), Counter[str]()

    def note(headers: dict[str, Any], **signal: Any) -> None:
        messages[headers["expires"]] += 1

    before_task_publish.connect(note)
    for minute in range(3 * 60):
        chase_payments(financial_transaction, now=failed_at + timedelta(minutes=minute))
    before_task_publish.disconnect(note)

    assert app.control.purge() == messages.total() == 3
    assert None not in messages


def test_a_payment_without_an_account_leaves_once_there_is_one(
    worker: Worker, bank: BankProcess
) -> None:
    payment = post_payslip(employee_with_week().pk, OCTOBER).payment
    with pytest.raises(Exception, match="has no IBAN"):
        financial_transaction.delay(payment.pk).get(timeout=30)
    assert status(payment)["attempt"] == 1  # that is not worth retrying

    Employee.objects.update(iban=IBAN)
    chase_payments(financial_transaction, now=timezone.now() + LATER)
    wait_for(payment, "completed")
    assert booked(bank, payment) == 1


def test_what_the_bank_refuses_is_not_sent_again_by_itself(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    Employee.objects.update(iban="DE88370400440532013000")
    with pytest.raises(Exception, match="its check digits are wrong"):
        financial_transaction.delay(payment.pk).get(timeout=30)

    assert status(payment)["attempt"] == 1
    assert in_the_books(payment) == ("pending", None, 0)
    Employee.objects.update(iban=IBAN)
    financial_transaction.delay(payment.pk).get(timeout=30)
    assert booked(bank, payment) == 1


def test_payments_that_nobody_asked_for_are_sent_only_on_request(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    assert chase_payments(financial_transaction, now=timezone.now() + LATER)["unasked"] == [payment]
    assert status(payment)["state"] is None

    assert chase_payments(financial_transaction, unasked=True)["sent"] == [payment]
    wait_for(payment, "completed")
    assert booked(bank, payment) == 1
