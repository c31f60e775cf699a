"""With a real bank (``payroll.bank``), which takes a plain transfer as often as it is sent."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from examples.bank_transfer import NothingSent, send_transfer
from ledger import ExecutionHeld, make_idempotency_key, release
from ledger.models import State, TaskExecution
from ledger.testing import crash_at
from ledger.testing.worker import Workers
from payroll.bank.process import BankProcess
from tests.examples.marks import commits
from tests.workers import wait_until

pytestmark = commits


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    with BankProcess(tmp_path / "book.jsonl") as bank:
        yield bank


def transfer(bank: BankProcess) -> tuple[Any, ...]:
    return bank.url, "rent", "DE89370400440532013000", "950.00"


def booked(bank: BankProcess) -> int:
    return len(bank.book("rent")["bookings"])


def test_a_duplicate_gets_the_banks_number_of_the_first(bank: BankProcess) -> None:
    assert send_transfer(*transfer(bank)) == send_transfer(*transfer(bank)) == {"booking": 1}
    assert booked(bank) == 1


def test_a_killed_worker_leaves_it_held_until_a_person_has_asked_the_bank(
    bank: BankProcess, ledger_worker: Workers
) -> None:
    ledger_worker(include=["examples.bank_transfer"])
    with crash_at("in_body") as crash:
        result = send_transfer.delay(*transfer(bank))
    crash.wait()
    with pytest.raises(ExecutionHeld):
        result.get(timeout=30)
    key = make_idempotency_key(send_transfer.name, transfer(bank))
    wait_until(TaskExecution.objects.filter(key=key, state=State.HELD).exists)
    assert booked(bank) == 1

    release(key, "completed", result={"booking": 1}, reason="the bank has booked it")
    assert send_transfer.delay(*transfer(bank)).get(timeout=30) == {"booking": 1}
    assert booked(bank) == 1


def test_a_lost_answer_leaves_it_held_and_a_person_may_let_it_be_sent(bank: BankProcess) -> None:
    bank.misbehave({"fault": "drop_before", "count": 1})
    with pytest.raises((URLError, ConnectionError)):
        send_transfer(*transfer(bank))
    with pytest.raises(ExecutionHeld):
        send_transfer(*transfer(bank))
    assert booked(bank) == 0

    key = make_idempotency_key(send_transfer.name, transfer(bank))
    release(key, "failed", reason="the bank knows nothing of it")
    assert send_transfer(*transfer(bank)) == {"booking": 1}


def test_a_bank_that_was_not_reached_is_tried_again(bank: BankProcess) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for _ in range(2):
            with pytest.raises(NothingSent):
                send_transfer(nobody, *transfer(bank)[1:])
    assert TaskExecution.objects.get().state == State.FAILED
