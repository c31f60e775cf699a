"""The bank is killed at the worst moment, and still knows what it did."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

import pytest

from payroll.bank.client import BankClient, BankError, BankOutcomeUnknown, Receipt
from payroll.bank.process import BankProcess
from tests.workers import wait_until

from .sending import pay


@pytest.mark.parametrize("key", [None, "key-1"], ids=["plain", "idempotent"])
def test_a_bank_killed_between_booking_and_answer_has_booked(
    bank: BankProcess, client: BankClient, key: str | None
) -> None:
    bank.misbehave({"fault": "delay_after=60"})
    with ThreadPoolExecutor() as pool:
        payment = pool.submit(pay, client, key=key)
        wait_until(lambda: bank.book()["total"] == 1, what="the booking")
        bank.kill()
        with pytest.raises(BankOutcomeUnknown):
            payment.result()
    bank.start()
    assert bank.book()["counts"] == {"pay-1": 1}
    again = pay(client, key=key)
    assert again.replayed is (key is not None)
    assert bank.book()["counts"] == {"pay-1": 1 if key else 2}


def test_a_bank_killed_before_booking_has_not_booked(bank: BankProcess, client: BankClient) -> None:
    bank.misbehave({"fault": "delay_before=60"})
    with ThreadPoolExecutor() as pool:
        payment = pool.submit(pay, client, key="key-1")
        wait_until(lambda: bank.faults()["rules"][0]["struck"], what="the request's arrival")
        bank.kill()
        with pytest.raises(BankOutcomeUnknown):
            payment.result()
    bank.start()
    assert bank.book()["total"] == 0
    assert not pay(client, key="key-1").replayed


def are_done(payments: list[Future[Receipt | None]], enough: int) -> bool:
    return sum(payment.done() for payment in payments) >= enough


def test_a_bank_killed_again_and_again_under_load_books_each_key_once(
    bank: BankProcess, client: BankClient
) -> None:
    failures: list[BankError] = []

    def paid(number: int) -> Receipt | None:
        try:
            return pay(client, f"pay-{number}", f"key-{number}")
        except BankError as error:
            failures.append(error)
            return None

    def insist(number: int) -> Receipt | None:
        """Send until there is a receipt, with the same key each time."""
        return wait_until(lambda: paid(number), what=f"a receipt for pay-{number}")

    with ThreadPoolExecutor(8) as pool:
        payments = [pool.submit(insist, number) for number in range(400)]
        for kill in range(1, 6):
            wait_until(partial(are_done, payments, 60 * kill), what=f"payments before kill {kill}")
            bank.kill()
            bank.start()
        wait(payments)
    book = bank.book()
    assert failures
    assert book["counts"] == {f"pay-{number}": 1 for number in range(400)}
    for payment in payments:
        receipt = payment.result()
        assert receipt
        assert book["bookings"][receipt.number - 1]["reference"] == receipt.reference
