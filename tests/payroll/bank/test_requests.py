"""Requests that the bank cannot take are refused with what is wrong, and book nothing."""

import socket
from typing import Any

import pytest
import urllib3

from payroll.bank.process import BankProcess

from .sending import error, post, transfer


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "A transfer is a JSON object."),
        (transfer(reference=""), "reference: must be a string of 1 to 140 characters"),
        (transfer(reference="x" * 141), "reference: must be a string of 1 to 140 characters"),
        (transfer(amount=1250), "amount: must be a decimal string"),
        (transfer(amount="1e3"), "amount: must be a decimal string"),
        (transfer(amount="NaN"), "amount: must be a decimal string"),
        (transfer(amount="0.001"), "amount: must be a decimal string"),
        (transfer(amount="-5.00"), "amount: must be a decimal string"),
        (transfer(amount="0.00"), "amount: must be more than 0"),
        (transfer(currency="euro"), "currency: must be an ISO 4217 code"),
        (transfer(iban="DE89 3704 0044 0532 0130 00"), "iban: must be an IBAN without spaces"),
        (transfer(iban="DE88370400440532013000"), "iban: its check digits are wrong"),
        (transfer(memo="hello"), "memo: is not a field of a transfer"),
        ({"reference": "pay-1"}, "amount: must be a decimal string"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/transfers/plain", "/transfers/idempotent"])
def test_an_impossible_transfer_is_refused(
    bank: BankProcess, path: str, body: Any, said: str
) -> None:
    refused = post(bank, path, body, {"Idempotency-Key": "key-1"})
    assert refused.status == 422
    assert said in error(refused)
    assert bank.book()["total"] == 0


def test_a_body_that_is_no_json_is_refused(bank: BankProcess) -> None:
    refused = urllib3.request("POST", f"{bank.url}/transfers/plain", body=b"{", retries=False)
    assert refused.status == 400
    assert "The body is not JSON" in error(refused)


@pytest.mark.parametrize(
    "header", ["Transfer-Encoding: chunked", "Content-Length: 65537", "Content-Length: -1"]
)
def test_a_body_of_no_or_too_great_a_length_is_refused_unread(
    bank: BankProcess, header: str
) -> None:
    with socket.create_connection(("127.0.0.1", bank.port), timeout=10) as connection:
        connection.sendall(f"POST /transfers/plain HTTP/1.1\r\n{header}\r\n\r\n".encode())
        with connection.makefile("rb") as wire:
            answer = wire.read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"with a Content-Length of at most 65536 bytes" in answer


def test_an_unknown_place_is_refused_with_what_there_is(bank: BankProcess) -> None:
    refused = post(bank, "/transfers", transfer())
    assert refused.status == 404
    assert "POST /transfers/idempotent" in error(refused)


def test_a_refusal_leaves_nothing_in_a_connection_that_is_kept(bank: BankProcess) -> None:
    pool = urllib3.HTTPConnectionPool("127.0.0.1", bank.port, maxsize=1, retries=False)
    key = {"Idempotency-Key": "key-1"}
    for _ in range(3):
        assert pool.request("POST", "/nowhere", json=transfer()).status == 404
        assert pool.request("POST", "/transfers/idempotent", json=transfer()).status == 400
        assert pool.request("POST", "/transfers/idempotent", json=[], headers=key).status == 422
        assert pool.request("POST", "/transfers/plain", json=transfer()).status == 201
    assert bank.book()["total"] == 3


def test_a_client_that_leaves_early_leaves_the_bank_well(bank: BankProcess) -> None:
    for sent in (b"", b"POST /transfers/plain HTTP/1.1\r\nContent-Length: 90\r\n\r\n{"):
        with socket.create_connection(("127.0.0.1", bank.port), timeout=10) as connection:
            connection.sendall(sent)
    assert post(bank, "/transfers/plain", transfer()).status == 201
    assert bank.book()["total"] == 1
