"""A bank and a worker for each module, which says in SETTINGS what that worker is told."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.testing import Worker
from ledger.testing.worker import Workers
from payroll.bank.process import BankProcess
from payroll.models import Payment
from payroll.services import post_payslip
from tests.payroll.company import OCTOBER, employee_with_week
from tests.payroll.conftest import kept
from tests.payroll.payments.mailbox import Mailbox

IBAN = "DE89370400440532013000"


@pytest.fixture(scope="module")
def _bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with BankProcess(tmp_path_factory.mktemp("bank") / "book.jsonl") as bank:
        yield bank


@pytest.fixture
def bank(_bank: BankProcess) -> BankProcess:
    """Up, and behaving. Its book is the whole module's; payments have references of their own."""
    _bank.start()
    _bank.misbehave()
    return _bank


@pytest.fixture(scope="module")
def mailbox() -> Iterator[Mailbox]:
    """The worker's mail server."""
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def worker(
    transactional_db: None,
    _workers: Workers,
    bank: BankProcess,
    mailbox: Mailbox,
    request: pytest.FixtureRequest,
) -> Iterator[Worker]:
    """What is published meanwhile is published to it."""
    told: dict[str, Any] = {"BANK_URL": bank.url, "EMAIL_URL": mailbox.url}
    with kept(_workers, environment=told | request.module.SETTINGS) as worker:
        yield worker


@pytest.fixture
def payment(transactional_db: None) -> Payment:
    """600.00 EUR that are pending, and an account for them."""
    payslip = post_payslip(employee_with_week(iban=IBAN).pk, OCTOBER)
    payment: Payment = payslip.payment
    return payment
