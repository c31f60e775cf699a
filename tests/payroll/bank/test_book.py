"""The book: the bank's own record, which outlives the bank."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from payroll.bank.book import Book
from payroll.bank.client import BankClient, BankOutcomeUnknown
from payroll.bank.process import ROOT, BankProcess
from payroll.bank.transfer import Transfer

from .sending import IBAN, at_once, pay, transfer


def refusal(book: Path) -> str:
    """What a bank says that does not open its book."""
    ended = subprocess.run(
        [sys.executable, "-m", "payroll.bank", "--port", "0", "--book", book],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    return ended.stderr


def test_it_lists_the_bookings_and_counts_them_by_reference(
    bank: BankProcess, client: BankClient
) -> None:
    pay(client, "pay-1", key="key-1")
    receipt = pay(client, "pay-2")
    pay(client, "pay-2")
    book = bank.book()
    assert book["total"] == 3
    assert book["counts"] == {"pay-1": 1, "pay-2": 2}
    assert [booking["number"] for booking in book["bookings"]] == [1, 2, 3]
    assert [booking["idempotency_key"] for booking in book["bookings"]] == ["key-1", None, None]
    assert book["bookings"][1] == transfer(reference="pay-2") | {
        "number": 2,
        "booked_at": receipt.booked_at.isoformat(),
        "idempotency_key": None,
    }
    of_one = bank.book("pay-2")
    assert of_one["counts"] == {"pay-2": 2}
    assert of_one["bookings"] == book["bookings"][1:]
    assert bank.book("pay-3") == {"total": 0, "counts": {}, "bookings": []}


def test_it_is_the_same_after_a_restart(bank: BankProcess, client: BankClient) -> None:
    for reference in ("pay-1", "pay-2", "Überweisung\u2028Müller"):
        pay(client, reference, key=f"key-of-{len(reference)}-{reference[-1]}")
        pay(client, reference)
    before = bank.book()
    bank.kill()
    bank.start()
    assert bank.book() == before
    assert pay(client).number == before["total"] + 1


def test_a_booking_is_on_the_disk_before_it_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "book.jsonl"
    book = Book(path)
    on_the_disk = [0]
    sync = os.fsync

    def fsync(file: int) -> None:
        sync(file)
        on_the_disk.append(path.stat().st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    for number in range(1, 4):
        book.book(Transfer.from_json(transfer()), f"key-{number}")
        assert on_the_disk[-1] == path.stat().st_size > on_the_disk[-2]


def number_of(book: Book, key: str, _: int) -> int:
    return book.book(Transfer.from_json(transfer()), key)[0].number


def test_nobody_comes_between_looking_for_a_key_and_booking(
    tmp_path: Path,
) -> None:
    book = Book(tmp_path / "book.jsonl")
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns after almost every step
    try:
        for number in range(1, 101):
            told = at_once(20, partial(number_of, book, f"key-{number}"))
            assert set(told) == {number}
    finally:
        sys.setswitchinterval(usual)


def test_a_line_that_was_not_finished_is_forgotten(bank: BankProcess, client: BankClient) -> None:
    pay(client, "pay-1", key="key-1")
    whole = bank.path.read_bytes()
    pay(client, "pay-2", key="key-2")
    bank.kill()
    line = bank.path.read_bytes()[len(whole) :]
    for length in (1, 15, len(line) - 1):
        bank.path.write_bytes(whole + line[:length])
        bank.start()
        assert bank.book()["counts"] == {"pay-1": 1}
        bank.kill()
        assert bank.path.read_bytes() == whole
    bank.start()
    assert pay(client, "pay-2", key="key-2").number == 2


@pytest.mark.parametrize("damage", ["changed", "removed", "twice", "foreign", "foreign, no break"])
def test_a_damaged_book_is_refused_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "book.jsonl"
    book = Book(path)
    for number in range(3):
        book.book(Transfer.from_json(transfer()), f"key-{number}")
    os.close(book._file)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = {
        "changed": [lines[0], lines[1].replace(IBAN.encode(), b"DE88"), lines[2]],
        "removed": [lines[0], lines[2]],
        "twice": [lines[0], lines[0]],
        "foreign": [lines[0], b"[1, 2]\n"],
        "foreign, no break": [lines[0], b"a text"],
    }[damage]
    path.write_bytes(b"".join(damaged))
    said = refusal(path)
    assert f"{path}, line 2 is no booking" in said
    assert "Traceback" not in said
    assert path.read_bytes() == b"".join(damaged)


def test_two_banks_cannot_keep_one_book(bank: BankProcess) -> None:
    assert f"Another bank holds {bank.path}" in refusal(bank.path)


def test_a_book_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    assert f"The book {tmp_path} cannot be opened: Is a directory." in refusal(tmp_path)


def test_a_full_disk_ends_booking_until_the_book_has_been_read_again(
    bank: BankProcess, client: BankClient
) -> None:
    pay(client, "pay-1", key="key-1")
    size = bank.path.stat().st_size
    assert bank.process
    limits = psutil.Process(bank.process.pid)
    for room in (size + 20, psutil.RLIM_INFINITY):
        limits.rlimit(psutil.RLIMIT_FSIZE, (room, psutil.RLIM_INFINITY))
        with pytest.raises(BankOutcomeUnknown, match=r"503 .*Make room and restart the bank"):
            pay(client, "pay-2", key="key-2")
    assert bank.book()["counts"] == {"pay-1": 1}
    bank.kill()
    bank.start()
    assert not pay(client, "pay-2", key="key-2").replayed
    assert bank.book()["counts"] == {"pay-1": 1, "pay-2": 1}
