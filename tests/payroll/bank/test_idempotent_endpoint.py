"""POST /transfers/idempotent: one booking for each key, however often and however close."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import urllib3

from payroll.bank.client import BankClient
from payroll.bank.process import BankProcess
from tests.workers import wait_until

from .sending import ANOTHER_IBAN, at_once, error, pay, post, post_keyed, transfer


def test_the_same_key_and_transfer_get_the_same_answer_and_one_booking(bank: BankProcess) -> None:
    first = post_keyed(bank, "key-1", transfer())
    again = post_keyed(bank, "key-1", transfer())
    assert (first.status, again.status) == (201, 201)
    assert first.data == again.data
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert bank.book()["counts"] == {"pay-1": 1}


def test_the_same_amount_written_otherwise_is_the_same_transfer(bank: BankProcess) -> None:
    first = post_keyed(bank, "key-1", transfer(amount="1250"))
    again = post_keyed(bank, "key-1", transfer(amount="1250.00"))
    assert first.data == again.data
    assert bank.book()["total"] == 1


def send_keyed(bank: BankProcess, key: str, _: int) -> urllib3.BaseHTTPResponse:
    return post_keyed(bank, key, transfer())


def test_fifty_requests_at_once_with_one_key_book_once(bank: BankProcess) -> None:
    for key in ("key-1", "key-2", "key-3"):
        answers = at_once(50, partial(send_keyed, bank, key))
        assert {answer.status for answer in answers} == {201}
        assert len({answer.data for answer in answers}) == 1
        replayed = [answer.headers.get("Idempotency-Replayed") for answer in answers]
        assert (replayed.count(None), replayed.count("true")) == (1, 49)
    assert bank.book()["counts"] == {"pay-1": 3}


def test_of_two_transfers_at_once_with_one_key_one_is_booked(bank: BankProcess) -> None:
    amounts = ("1.00", "2.00")
    answers = at_once(50, lambda n: post_keyed(bank, "key-1", transfer(amount=amounts[n % 2])))
    [booking] = bank.book()["bookings"]
    for number, answer in enumerate(answers):
        assert answer.status == (201 if amounts[number % 2] == booking["amount"] else 422)


def test_a_request_that_comes_while_the_first_is_processed_books_nothing_more(
    bank: BankProcess, client: BankClient
) -> None:
    bank.misbehave({"fault": "delay_before=1", "count": 1})
    with ThreadPoolExecutor() as pool:
        first = pool.submit(pay, client, key="key-1")
        wait_until(lambda: bank.faults()["rules"][0]["struck"], what="the first request's arrival")
        second = pay(client, key="key-1")
        assert not first.done()
        assert first.result().number == second.number
    assert bank.book()["total"] == 1


@pytest.mark.parametrize(
    "changed",
    [{"reference": "pay-2"}, {"amount": "1250.01"}, {"currency": "USD"}, {"iban": ANOTHER_IBAN}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_key_used_for_another_transfer_is_refused(
    bank: BankProcess, changed: dict[str, Any]
) -> None:
    first = post_keyed(bank, "key-1", transfer())
    refused = post_keyed(bank, "key-1", transfer(**changed))
    assert refused.status == 422
    assert "key-1 was used for another transfer" in error(refused)
    assert post_keyed(bank, "key-1", transfer()).data == first.data
    assert bank.book()["total"] == 1


@pytest.mark.parametrize("key", [None, "", "two words", "k" * 256], ids=repr)
def test_a_missing_or_unusable_key_is_refused(bank: BankProcess, key: str | None) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    refused = post(bank, "/transfers/idempotent", transfer(), headers)
    assert refused.status == 400
    assert "Idempotency-Key must have 1 to 255 visible ASCII characters" in error(refused)
    assert bank.book()["total"] == 0


def test_keys_are_known_after_a_restart(bank: BankProcess) -> None:
    first = post_keyed(bank, "key-1", transfer())
    bank.kill()
    bank.start()
    assert post_keyed(bank, "key-1", transfer()).data == first.data
    assert post_keyed(bank, "key-1", transfer(amount="1.00")).status == 422
    assert bank.book()["total"] == 1


def test_a_refused_transfer_uses_no_key_up(bank: BankProcess) -> None:
    assert post_keyed(bank, "key-1", transfer(amount="-1")).status == 422
    assert post_keyed(bank, "key-1", transfer()).status == 201
