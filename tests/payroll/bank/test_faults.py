"""The bank misbehaves as it is told, and only so."""

import json
import re
import socket
from typing import Any

import pytest
import urllib3

from payroll.bank.client import BankClient, BankError, BankOutcomeUnknown
from payroll.bank.process import BankProcess
from tests.workers import wait_until

from .sending import error, pay, post, post_keyed, transfer

UNANSWERED = {
    "drop_before": ("not answered", 0),
    "error_before": ("500", 0),
    "drop_after": ("not answered", 1),
    "error_after": ("500", 1),
}


@pytest.mark.parametrize("key", [None, "key-1"], ids=["plain", "idempotent"])
@pytest.mark.parametrize(("fault", "said", "booked"), [(f, *u) for f, u in UNANSWERED.items()])
def test_a_transfer_that_gets_no_answer_is_booked_or_not(
    bank: BankProcess, client: BankClient, key: str | None, fault: str, said: str, booked: int
) -> None:
    bank.misbehave({"fault": fault, "count": 1})
    with pytest.raises(BankOutcomeUnknown, match=said):
        pay(client, key=key)
    assert bank.book()["total"] == booked
    again = pay(client, key=key)
    assert again.replayed is bool(booked and key)
    assert bank.book()["total"] == (1 if key else 1 + booked)


@pytest.mark.parametrize(("moment", "booked"), [("before", 0), ("after", 1)])
def test_a_delay_outlasts_the_client_before_or_after_booking(
    bank: BankProcess, moment: str, booked: int
) -> None:
    bank.misbehave({"fault": f"delay_{moment}=60"})
    with pytest.raises(BankOutcomeUnknown, match="timed out"):
        pay(BankClient(bank.url, timeout=0.2))
    assert bank.book()["total"] == booked


def test_a_transfer_may_be_booked_after_its_sender_gave_up(bank: BankProcess) -> None:
    bank.misbehave({"fault": "delay_before=2"})
    with pytest.raises(BankOutcomeUnknown):
        pay(BankClient(bank.url, timeout=0.2))
    wait_until(lambda: bank.book()["total"] == 1, what="the late booking")


@pytest.mark.parametrize("key", [None, "key-1"], ids=["plain", "idempotent"])
def test_an_answer_sent_twice_is_not_taken_for_the_next_one(
    bank: BankProcess, client: BankClient, key: str | None
) -> None:
    bank.misbehave({"fault": "reply_twice"})
    for number in range(1, 11):
        receipt = pay(client, f"pay-{number}", key and f"key-{number}")
        assert (receipt.number, receipt.reference) == (number, f"pay-{number}")
    assert bank.book()["counts"] == {f"pay-{number}": 1 for number in range(1, 11)}


@pytest.mark.parametrize(("path", "booked"), [("plain", 2), ("idempotent", 1)])
def test_a_request_that_a_proxy_repeats_books_twice_unless_it_has_a_key(
    bank: BankProcess, client: BankClient, path: str, booked: int
) -> None:
    bank.misbehave({"fault": "book_twice"})
    assert pay(client, key="key-1" if path == "idempotent" else None).number == 1
    assert bank.book()["counts"] == {"pay-1": booked}


@pytest.mark.parametrize(("fault", "numbers"), [("reply_twice", [1, 1]), ("book_twice", [1, 2])])
def test_both_answers_are_on_the_wire(bank: BankProcess, fault: str, numbers: list[int]) -> None:
    body = json.dumps(transfer())
    head = f"Content-Length: {len(body)}\r\nBank-Fault: {fault}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", bank.port), timeout=10) as connection:
        connection.sendall(f"POST /transfers/plain HTTP/1.1\r\n{head}{body}".encode())
        with connection.makefile("rb") as wire:
            came = wire.read()
    assert came.count(b"HTTP/1.1 201 Created\r\n") == 2
    assert [int(number) for number in re.findall(rb'"number": (\d+)', came)] == numbers


def test_a_fault_in_a_requests_header_strikes_that_request_alone(bank: BankProcess) -> None:
    assert (
        post_keyed(bank, "key-1", transfer(), fault="delay_before=0.01, error_after").status == 500
    )
    assert bank.book()["total"] == 1
    assert post_keyed(bank, "key-1", transfer()).status == 201


def test_the_header_has_precedence_and_uses_no_rule_up(bank: BankProcess) -> None:
    bank.misbehave({"fault": "error_before", "count": 1})
    assert post(bank, "/transfers/plain", transfer(), {"Bank-Fault": ""}).status == 201
    assert post(bank, "/transfers/plain", transfer(), {"Bank-Fault": "error_after"}).status == 500
    assert bank.faults()["rules"][0]["struck"] == 0
    assert post(bank, "/transfers/plain", transfer()).status == 500
    assert bank.book()["total"] == 2


def outcomes(client: BankClient, times: int) -> list[str]:
    """How each of a row of transfers ended."""
    ended = []
    for _ in range(times):
        try:
            pay(client)
            ended.append("booked")
        except BankError as unknown:
            ended.append("dropped" if "not answered" in str(unknown) else "error")
    return ended


def test_rules_strike_in_their_order_and_as_often_as_they_may(
    bank: BankProcess, client: BankClient
) -> None:
    bank.misbehave({"fault": "drop_before", "count": 2}, {"fault": "error_before", "count": 1})
    assert outcomes(client, 5) == ["dropped", "dropped", "error", "booked", "booked"]
    assert bank.faults()["rules"] == [
        {"fault": "drop_before", "probability": 1, "count": 0, "struck": 2},
        {"fault": "error_before", "probability": 1, "count": 0, "struck": 1},
    ]
    bank.misbehave()
    assert bank.faults() == {"seed": None, "rules": []}


def test_the_same_seed_makes_the_same_faults(bank: BankProcess, client: BankClient) -> None:
    rules = (
        {"fault": "drop_before", "probability": 0.3},
        {"fault": "error_before", "probability": 0.3, "count": 5},
    )
    seen = []
    for seed in (7, 7, 8):
        bank.misbehave(*rules, seed=seed)
        seen.append(outcomes(client, 40))
    assert seen[0] == seen[1] != seen[2]
    assert set(seen[0]) == {"booked", "dropped", "error"}
    assert seen[0].count("error") == 5
    assert bank.faults()["rules"][0]["struck"] == seen[2].count("dropped")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "Faults are"),
        ({"rules": [], "chance": 1}, "Faults are"),
        ({"rules": {}}, "The rules are a list"),
        ({"seed": "7", "rules": []}, "The seed is a whole number"),
        ({"rules": ["drop_after"]}, "is no rule"),
        ({"rules": [{"fault": "explode"}]}, "'explode' is no fault: give delay_before=SECONDS"),
        ({"rules": [{"fault": "delay_before"}]}, "the seconds of delay_before must be a number"),
        ({"rules": [{"fault": "delay_after=-1"}]}, "the seconds of delay_after must be a number"),
        ({"rules": [{"fault": "drop_after", "probability": 1.5}]}, "the probability must be"),
        ({"rules": [{"fault": "drop_after", "count": -1}]}, "count is a whole number"),
        ({"rules": [{"fault": "drop_after", "times": 1}]}, "A rule has count, fault, probability"),
    ],
    ids=str,
)
def test_impossible_faults_are_refused_and_replace_nothing(
    bank: BankProcess, given: Any, said: str
) -> None:
    bank.misbehave({"fault": "error_after"}, seed=1)
    before = bank.faults()
    refused = urllib3.request("PUT", f"{bank.url}/faults", json=given, retries=False)
    assert refused.status == 400
    assert said in error(refused)
    assert bank.faults() == before


def test_an_impossible_fault_in_the_header_books_nothing(bank: BankProcess) -> None:
    refused = post(bank, "/transfers/plain", transfer(), {"Bank-Fault": "explode"})
    assert refused.status == 400
    assert "'explode' is no fault" in error(refused)
    assert bank.book()["total"] == 0
