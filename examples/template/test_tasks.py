"""The template's tests: delivered twice, failed, killed. docs/testing.md has the rest."""

import pytest

from examples.models import Entry
from examples.template.tasks import book_order
from ledger.testing import assert_runs_once, crash_at
from ledger.testing.worker import Workers


@pytest.mark.django_db
def test_an_order_is_booked_once() -> None:
    assert_runs_once(book_order, 7, "12.50", effects=Entry.objects.count)


@pytest.mark.django_db
def test_another_order_is_booked_as_well() -> None:
    assert book_order(7, "12.50") != book_order(8, "12.50")
    assert Entry.objects.count() == 2


@pytest.mark.django_db
def test_a_failure_leaves_nothing_behind_and_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Entry.objects, "create", lambda **fields: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            book_order(7, "12.50")
    assert book_order(7, "12.50")
    assert Entry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_order_survives_its_worker(ledger_worker: Workers) -> None:
    ledger_worker(include=["examples.template.tasks"])  # which a project's own tasks.py need not
    with crash_at("before_commit") as crash:
        result = book_order.delay(7, "12.50")
    crash.wait()
    assert result.get(timeout=30) == {"entry": Entry.objects.get().pk}
