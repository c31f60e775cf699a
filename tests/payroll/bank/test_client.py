"""The client tells apart what was refused, what never left, and what nobody knows."""

import multiprocessing
import pickle
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from payroll.bank.client import (
    BankClient,
    BankError,
    BankOutcomeUnknown,
    BankRefused,
    BankUnreachable,
    NotBooked,
    Receipt,
)
from payroll.bank.process import BankProcess

from .sending import ANOTHER_IBAN, IBAN, pay

BOOKING = (
    b'{"number": 1, "booked_at": "2026-11-02T09:00:00+00:00", "idempotency_key": null,'
    b' "reference": "pay-1", "amount": "1250.00", "currency": "EUR",'
    b' "iban": "DE89370400440532013000"}'
)


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that connections may be made to; nobody reads what is sent."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        yield listener


def client_of(listener: socket.socket, timeout: float = 10) -> BankClient:
    return BankClient(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout)


def answer_once(listener: socket.socket, answer: bytes) -> bytes:
    """Take one request as a peer would that is no well-behaved bank, and return what it was."""
    connection, _ = listener.accept()
    with connection:
        request = connection.recv(65536)
        while b"iban" not in request:
            request += connection.recv(65536)
        connection.sendall(answer)
        return request


def test_a_receipt_says_what_was_booked(bank: BankProcess, client: BankClient) -> None:
    before = datetime.now(UTC)
    receipt = pay(client, key="key-1")
    assert (receipt.number, receipt.reference, receipt.replayed) == (1, "pay-1", False)
    assert (receipt.amount, receipt.currency, receipt.iban) == (Decimal("1250"), "EUR", IBAN)
    assert isinstance(receipt.amount, Decimal)
    assert timedelta() <= receipt.booked_at - before < timedelta(seconds=30)
    again = pay(client, key="key-1")
    assert again.replayed
    assert (again.number, again.booked_at) == (receipt.number, receipt.booked_at)


@pytest.mark.parametrize("key", [None, "key-1"], ids=["plain", "idempotent"])
def test_a_refusal_books_nothing(bank: BankProcess, client: BankClient, key: str | None) -> None:
    with pytest.raises(BankRefused, match=r"refused pay-1 and booked nothing: 422 .*more than 0"):
        client.transfer("pay-1", Decimal("0"), "EUR", IBAN, idempotency_key=key)
    assert bank.book()["total"] == 0


def test_a_key_of_another_transfer_does_not_say_whether_this_one_is_booked(
    bank: BankProcess, client: BankClient
) -> None:
    pay(client, key="key-1")
    with pytest.raises(BankOutcomeUnknown, match=r"ask the bank for pay-1\. 422 .*was used for"):
        client.transfer("pay-1", Decimal("1250"), "EUR", ANOTHER_IBAN, idempotency_key="key-1")


def test_a_bank_that_is_down_is_unreachable(bank: BankProcess, client: BankClient) -> None:
    bank.kill()
    with pytest.raises(BankUnreachable, match="pay-1 was not sent"):
        pay(client)
    bank.start()
    assert bank.book()["total"] == 0
    assert pay(client).number == 1


def test_a_bank_without_a_name_in_the_world_is_unreachable() -> None:
    with pytest.raises(BankUnreachable):
        pay(BankClient("http://bank.invalid"))


def test_a_bank_that_takes_no_connection_in_time_is_unreachable(listener: socket.socket) -> None:
    waiting = []
    try:
        for _ in range(8):  # fill the queue of connections that nobody accepts
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listener.getsockname())
        with pytest.raises(BankUnreachable, match="timed out"):
            pay(client_of(listener, timeout=0.2))
    finally:
        for connection in waiting:
            connection.close()


def test_a_bank_that_is_not_what_it_says_gets_nothing(listener: socket.socket) -> None:
    def no_tls() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(1024).startswith(b"\x16\x03"), "more than a TLS greeting came"
            connection.sendall(http("201 Created", BOOKING))

    with ThreadPoolExecutor() as pool:
        peer = pool.submit(no_tls)
        with pytest.raises(BankUnreachable) as caught:
            pay(BankClient(f"https://127.0.0.1:{listener.getsockname()[1]}"))
        peer.result()
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_no_answer_in_time_leaves_the_outcome_unknown(listener: socket.socket) -> None:
    with pytest.raises(BankOutcomeUnknown, match="pay-1 was sent to the bank and not answered"):
        pay(client_of(listener, timeout=0.2))


def test_a_client_that_gave_up_hangs_up(listener: socket.socket) -> None:
    with pytest.raises(BankOutcomeUnknown) as caught:
        pay(client_of(listener, timeout=0.2))
    connection, _ = listener.accept()
    connection.settimeout(10)
    with connection, connection.makefile("rb") as wire:
        assert wire.read().endswith(b"}"), "ends where the request does"
    assert caught.value.__traceback__, "which still refers to the connection"


@pytest.mark.parametrize(
    "answer",
    {
        "nothing": b"",
        "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n",
        "half a head": b"HTTP/1.1 201 Crea",
        "half a body": http("201 Created", BOOKING)[:-20],
        "no booking": http("201 Created", b"{}"),
        "a list": http("201 Created", b"[]"),
        "no JSON": http("201 Created", b"<html>"),
        "no text": http("201 Created", b"\xff\xfe"),
        "another amount": http("201 Created", BOOKING.replace(b"1250.00", b"1250.01")),
        "another reference": http("201 Created", BOOKING.replace(b"pay-1", b"pay-2")),
        "no time": http("201 Created", BOOKING.replace(b"2026-11-02T", b"yesterday")),
        "another 2xx": http("202 Accepted", BOOKING),
        "elsewhere": http("307 Temporary Redirect", b"", "Location: /transfers/plain"),
        "server error": http("500 Internal Server Error", b"{}"),
        "unavailable": http("503 Service Unavailable", b"", "Retry-After: 0"),
        "gateway timeout": http("504 Gateway Timeout", b"<html>"),
    }.items(),
    ids=lambda answer: answer[0],
)
def test_an_answer_that_confirms_nothing_leaves_the_outcome_unknown(
    listener: socket.socket, answer: tuple[str, bytes]
) -> None:
    with ThreadPoolExecutor() as pool:
        peer = pool.submit(answer_once, listener, answer[1])
        with pytest.raises(BankOutcomeUnknown, match="pay-1"):
            pay(client_of(listener))
        peer.result()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):  # nothing was sent a second time
        listener.accept()


def test_what_is_sent_is_one_request_with_the_money_as_a_string(listener: socket.socket) -> None:
    with ThreadPoolExecutor() as pool:
        peer = pool.submit(answer_once, listener, http("201 Created", BOOKING))
        pay(client_of(listener), key="key-1")
        head, _, body = peer.result().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /transfers/idempotent HTTP/1.1\r\n")
    assert b"Idempotency-Key: key-1" in head.split(b"\r\n")
    assert b"Connection: close" in head.split(b"\r\n")
    assert b'"amount": "1250.00"' in body


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"amount": 12.5}, TypeError, "The amount of pay-1 must be a Decimal, not 12.5"),
        ({"amount": "12.50"}, TypeError, "must be a Decimal"),
        ({"idempotency_key": ""}, ValueError, "The idempotency key of pay-1 must have"),
        ({"idempotency_key": "a\r\nBank-Fault: x"}, ValueError, "The idempotency key of pay-1"),
        ({"idempotency_key": "schlüssel"}, ValueError, "The idempotency key of pay-1"),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_refused_here(
    bank: BankProcess, client: BankClient, given: dict[str, Any], error: Any, said: str
) -> None:
    payment: dict[str, Any] = {"amount": Decimal("12.50"), "currency": "EUR", "iban": IBAN}
    with pytest.raises(error, match=said):
        client.transfer("pay-1", **(payment | given))
    assert bank.book()["total"] == 0


@pytest.mark.parametrize("url", ["", "127.0.0.1:8090", "ftp://bank", "http://", "http://[::1"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a bank"):
        BankClient(url)


def test_the_classes_say_whether_money_moved() -> None:
    assert issubclass(BankRefused, NotBooked)
    assert issubclass(BankUnreachable, NotBooked)
    assert not issubclass(BankOutcomeUnknown, NotBooked)
    for kind in (BankRefused, BankUnreachable, BankOutcomeUnknown):
        assert issubclass(kind, BankError)
        assert str(pickle.loads(pickle.dumps(kind("pay-1: why")))) == "pay-1: why"


def pay_twenty(client: BankClient, name: str) -> list[Receipt]:
    return [pay(client, f"{name}-{number}", f"{name}-{number}") for number in range(20)]


def test_a_client_made_before_a_fork_serves_both_sides(
    bank: BankProcess, client: BankClient
) -> None:
    pay(client, "before")
    child = multiprocessing.get_context("fork").Process(target=pay_twenty, args=(client, "child"))
    child.start()
    receipts = pay_twenty(client, "parent")
    child.join()
    assert child.exitcode == 0
    assert [receipt.reference for receipt in receipts] == [f"parent-{n}" for n in range(20)]
    book = bank.book()
    assert book["total"] == 41
    assert set(book["counts"].values()) == {1}
