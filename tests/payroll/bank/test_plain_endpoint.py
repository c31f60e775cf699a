"""POST /transfers/plain: every request books."""

from payroll.bank.client import BankClient
from payroll.bank.process import BankProcess

from .sending import at_once, pay, post, transfer


def test_every_request_books(bank: BankProcess, client: BankClient) -> None:
    receipts = at_once(50, lambda _: pay(client))
    assert {receipt.number for receipt in receipts} == set(range(1, 51))
    assert not any(receipt.replayed for receipt in receipts)
    assert bank.book()["counts"] == {"pay-1": 50}


def test_a_key_is_not_honoured(bank: BankProcess) -> None:
    for _ in range(2):
        answer = post(bank, "/transfers/plain", transfer(), {"Idempotency-Key": "key-1"})
        assert answer.status == 201
    assert bank.book()["counts"] == {"pay-1": 2}
