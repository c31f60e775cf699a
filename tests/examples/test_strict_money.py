from decimal import Decimal

import pytest
from django.db.models import Sum

from examples.models import Entry
from examples.strict_money import book
from ledger import DuplicateExecution, PayloadMismatch
from ledger.testing import Clock, deliver_twice

pytestmark = pytest.mark.django_db

CALL = (17, "rent", "bank", Decimal("950.00"))


def balance(account: str) -> Decimal | None:
    return Entry.objects.filter(account=account).aggregate(Sum("amount"))["amount__sum"]


def test_a_duplicate_is_an_error_and_moves_nothing() -> None:
    with pytest.raises(DuplicateExecution) as refused:
        deliver_twice(book, *CALL)
    assert refused.value.result == "transaction 17"
    assert (balance("rent"), balance("bank")) == (Decimal("-950.00"), Decimal("950.00"))


def test_ten_years_later_it_still_is(ledger_clock: Clock) -> None:
    book(*CALL)
    ledger_clock.forward(days=3653)
    with pytest.raises(DuplicateExecution):
        book(*CALL)


def test_the_same_number_with_another_amount_does_not_pass_for_a_duplicate() -> None:
    book(*CALL)
    with pytest.raises(PayloadMismatch):
        book(17, "rent", "bank", Decimal("9500.00"))
    assert Entry.objects.count() == 2


def test_half_a_booking_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    create = Entry.objects.create

    def create_debits_only(account: str, **fields: object) -> Entry:
        if account == "bank":
            raise OSError("the power went away")
        return create(account=account, **fields)

    with monkeypatch.context() as broken:
        broken.setattr(Entry.objects, "create", create_debits_only)
        with pytest.raises(OSError, match="power"):
            book(*CALL)
    assert not Entry.objects.exists()
    assert book(*CALL) == "transaction 17"
