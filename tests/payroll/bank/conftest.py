from collections.abc import Iterator
from pathlib import Path

import pytest

from payroll.bank.client import BankClient
from payroll.bank.process import BankProcess


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    """A bank in a process of its own, with an empty book."""
    with BankProcess(tmp_path / "book.jsonl") as bank:
        yield bank


@pytest.fixture
def client(bank: BankProcess) -> BankClient:
    return BankClient(bank.url)
