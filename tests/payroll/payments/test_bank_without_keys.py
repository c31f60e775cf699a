"""A bank without idempotency keys: at most once, and a person decides about what is in doubt."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import DeadLetter
from ledger.models import ExecutionEvent
from ledger.testing import Worker, crash_at
from payroll.bank.process import BankProcess
from payroll.chasing import chase_payments
from payroll.models import Payment
from payroll.services import post_payslip, settle_payment
from payroll.tasks import financial_transaction
from tests.payroll.company import OCTOBER, employee_with_week
from tests.payroll.manage import Manage
from tests.payroll.payments.scene import (
    booked,
    bookings,
    execution,
    in_the_books,
    journal_closed,
    kill,
    status,
    wait_for,
)
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = {"BANK_HONOURS_KEYS": "false", "BANK_TIMEOUT": "30"}
LATER = timedelta(days=1)


def decide(manage: Manage, payment: Payment, *decision: str) -> None:
    """As an accountant would, at a terminal."""
    call = (financial_transaction.name, "--args", f"[{payment.pk}]")
    by = ("--reason", "the bank was asked", "--actor", "Dana Weber")
    released = manage("ledger", "release", *call, *decision, *by)
    assert released.status == 0, released.err


def test_a_payment_is_booked_by_the_bank_and_the_books_follow_it(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    financial_transaction.delay(payment.pk).get(timeout=30)

    [booking] = bookings(bank, payment)
    assert booking["idempotency_key"] is None
    assert in_the_books(payment) == ("sent", booking["number"], 1)
    assert execution(payment).guarantee == "at_most_once"


def test_a_crash_after_the_answer_is_held_and_released_as_completed_into_the_right_books(
    worker: Worker, bank: BankProcess, payment: Payment, manage: Manage
) -> None:
    with journal_closed() as wait_for_the_answer:
        financial_transaction.delay(payment.pk)
        wait_for_the_answer()
        kill(payment)
    wait_for(payment, "held")
    assert in_the_books(payment) == ("pending", None, 0)

    [booking] = bookings(bank, payment)
    result = f'{{"bank_number": {booking["number"]}}}'
    decide(manage, payment, "--as", "completed", "--result", result)
    assert manage("chase_payments").table["settled"] == ["1"]

    assert in_the_books(payment) == ("sent", booking["number"], 1)
    assert booked(bank, payment) == 1
    decision = ExecutionEvent.objects.get(kind="released")
    assert (decision.actor, decision.reason) == ("Dana Weber", "completed: the bank was asked")
    assert manage("chase_payments").table["settled"] == ["0"]


def test_a_crash_before_booking_is_held_and_released_as_failed_to_be_sent_once(
    worker: Worker, bank: BankProcess, payment: Payment, manage: Manage
) -> None:
    bank.misbehave({"fault": "delay_before=60"})
    financial_transaction.delay(payment.pk)
    wait_until(lambda: bank.faults()["rules"][0]["struck"])
    kill(payment)
    wait_for(payment, "held")
    bank.kill()  # with the request
    bank.start()

    decide(manage, payment, "--as", "failed")
    chase_payments(financial_transaction, now=timezone.now() + LATER)

    wait_for(payment, "completed")
    [booking] = bookings(bank, payment)
    assert in_the_books(payment) == ("sent", booking["number"], 1)


def test_what_is_held_waits_in_the_ledger_alone_and_leaves_no_dead_letter(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.misbehave({"fault": "drop_after", "count": 1})
    for _ in ("the answer is lost", "and asked for once more"):
        sent = financial_transaction.delay(payment.pk)
        worker.wait_for_log(f"[{sent.id}] raised")  # behind what keeps dead letters

    assert status(payment)["state"] == "held"
    assert DeadLetter.objects.count() == 0


def test_a_crash_after_our_commit_is_held_though_the_books_are_right_already(
    worker: Worker, bank: BankProcess, payment: Payment, manage: Manage
) -> None:
    with crash_at("in_body") as crash:
        financial_transaction.delay(payment.pk)
    crash.wait()
    wait_for(payment, "held")
    [booking] = bookings(bank, payment)
    assert in_the_books(payment) == ("sent", booking["number"], 1)

    decide(manage, payment, "--as", "failed")  # even this sends nothing: the step is done
    financial_transaction.delay(payment.pk)
    wait_for(payment, "completed")
    assert booked(bank, payment) == 1
    assert in_the_books(payment) == ("sent", booking["number"], 1)


def test_what_is_held_is_not_sent_by_another_message_nor_chased(
    worker: Worker, bank: BankProcess, payment: Payment, manage: Manage
) -> None:
    bank.misbehave({"fault": "drop_after", "count": 1})
    with pytest.raises(Exception, match="was sent to the bank and not answered"):
        financial_transaction.delay(payment.pk).get(timeout=30)
    assert status(payment)["state"] == "held"

    with pytest.raises(Exception, match="is held"):
        financial_transaction.delay(payment.pk).get(timeout=30)
    assert chase_payments(financial_transaction, unasked=True)["held"] == [payment]
    said = manage("chase_payments")
    assert said.table["held"] == ["1"]
    assert f"ask the bank for the reference payment-{payment.pk}" in said.out
    assert booked(bank, payment) == 1
    assert status(payment)["attempt"] == 1


def test_a_payment_that_somebody_settled_while_the_bank_booked_it_is_held(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.misbehave({"fault": "delay_after=2"})
    result = financial_transaction.delay(payment.pk)
    wait_until(lambda: booked(bank, payment))
    settle_payment(payment.pk)

    with pytest.raises(Exception, match="find out who, and whether it was paid twice"):
        result.get(timeout=30)
    assert status(payment)["state"] == "held"
    assert in_the_books(payment) == ("sent", None, 1)


def test_a_bank_that_was_not_reached_is_tried_again_by_itself(
    worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.kill()
    result = financial_transaction.delay(payment.pk)
    wait_for(payment, "failed")
    bank.start()

    result.get(timeout=30)
    assert booked(bank, payment) == 1
    assert execution(payment).attempt > 1


def test_what_cannot_be_paid_is_a_failure_and_not_held(worker: Worker, bank: BankProcess) -> None:
    payment = post_payslip(employee_with_week().pk, OCTOBER).payment
    for wrong, said in ((payment.pk, "has no IBAN"), (404, "no payment with id 404")):
        with pytest.raises(Exception, match=said):
            financial_transaction.delay(wrong).get(timeout=30)
    assert status(payment)["state"] == "failed"
