"""``key=``: what identifies the work, and what else must then be equal."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from celery import shared_task

from ledger import (
    PayloadMismatch,
    UnusableArgument,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
    make_idempotency_key,
)
from ledger.models import TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.testapp.models import Effect

pytestmark = commits


@idempotent_task(key="transaction")
def by_name(transaction: str, amount: int, note: str = "") -> str:
    Effect.objects.create(key=transaction, note=str(amount))
    return current_execution().key


@idempotent_task(key=("year", "month"))
def by_names(employee: int, year: int, month: int) -> str:
    return current_execution().key


@idempotent_task(key=lambda self, order, **options: order["number"])
def by_callable(this: Any, order: dict[str, Any], **options: Any) -> str:
    return current_execution().key


@shared_task(bind=True)
@idempotent_task(key=lambda order, *, urgent: [order["number"], urgent])
def bound_by_callable(self: Any, order: dict[str, Any], *, urgent: bool) -> str:
    return current_execution().key


@shared_task(bind=True)
@idempotent_task(key="transaction")
def book(self: Any, transaction: str, amount: int) -> int:
    Effect.objects.create(key=transaction)
    return amount


def name(function: Any) -> str:
    return f"{__name__}.{function.__name__}"


class TestWhatIdentifiesTheWork:
    def test_one_argument_by_name(self) -> None:
        key = make_idempotency_key(name(by_name), ["tx-1", 100])
        assert key == make_idempotency_key(name(by_name), ["tx-1", 200, "other"])
        assert key != make_idempotency_key(name(by_name), ["tx-2", 100])
        assert by_name("tx-1", 100) == by_name(amount=100, transaction="tx-1") == key
        assert Effect.objects.count() == 1

    def test_several_arguments_by_name(self) -> None:
        key = make_idempotency_key(name(by_names), [1, 2026, 11])
        assert key == make_idempotency_key(name(by_names), [2], {"month": 11, "year": 2026})
        assert key != make_idempotency_key(name(by_names), [1, 2026, 12])
        assert by_names(1, 2026, 11) == key

    def test_a_callable_of_the_arguments(self) -> None:
        key = make_idempotency_key(name(by_callable), [0, {"number": 7, "text": "a"}])
        assert key == make_idempotency_key(name(by_callable), [0, {"number": 7}], {"loud": True})
        assert key != make_idempotency_key(name(by_callable), [0, {"number": 8}])
        assert by_callable(0, {"number": 7, "text": "a"}) == key

    def test_a_callable_does_not_get_the_bound_self(self, inbox: Inbox) -> None:
        key = make_idempotency_key(bound_by_callable.name, [{"number": 7}], {"urgent": True})
        assert bound_by_callable({"number": 7}, urgent=True) == key
        bound_by_callable.delay({"number": 7}, urgent=True)
        assert inbox.take().run() == key

    def test_a_callable_that_names_nothing_is_refused(self) -> None:
        @idempotent_task(key=lambda order: order.get("number"))
        def forgetful(order: dict[str, int]) -> None: ...

        with pytest.raises(UnusableArgument, match=r"forgetful: the value of key= is None"):
            forgetful({})
        assert not TaskExecution.objects.exists()

    def test_a_callable_that_names_it_by_something_unstable_is_refused(self) -> None:
        @idempotent_task(key=lambda order: object())
        def unstable(order: int) -> None: ...

        with pytest.raises(UnusableArgument, match=r"unstable: the value of key= is a .*object"):
            unstable(1)


class TestAnotherPayloadUnderTheSameKey:
    def test_it_is_refused_once_the_execution_is_completed(self) -> None:
        by_name("tx-1", 100)
        with pytest.raises(PayloadMismatch, match=r"tx|idempotent:.*by_name.*other arguments"):
            by_name("tx-1", 101)
        assert list(Effect.objects.values_list("note", flat=True)) == ["100"]
        assert TaskExecution.objects.get().events.count() == 0  # it was no skip

    def test_it_is_refused_while_the_execution_runs(self) -> None:
        inside, go_on = threading.Event(), threading.Event()

        @idempotent_task(key="transaction")
        def slow(transaction: str, amount: int) -> int:
            inside.set()
            wait_for(go_on)
            return amount

        with Elsewhere() as elsewhere:
            running = elsewhere.call(slow, "tx-1", 100)
            wait_for(inside)
            try:
                with pytest.raises(PayloadMismatch):
                    slow("tx-1", 101)
            finally:
                go_on.set()
            assert running.result(PATIENCE) == 100

    def test_it_is_refused_in_a_message_too(self, inbox: Inbox) -> None:
        book.delay("tx-1", 100)
        book.delay("tx-1", 101)
        book.delay("tx-1", 100)
        first, other, duplicate = inbox.take(), inbox.take(), inbox.take()
        assert first.run() == 100
        assert isinstance(other.run(), PayloadMismatch)
        assert duplicate.run() == 100
        assert Effect.objects.count() == 1

    def test_it_is_refused_in_a_redelivered_message_too(self, inbox: Inbox) -> None:
        assert book("tx-1", 100) == 100
        book.delay("tx-1", 101)
        inbox.take().lose()
        assert isinstance(inbox.take().run(), PayloadMismatch)

    def test_a_failure_binds_nobody(self) -> None:
        @idempotent_task(key="transaction")
        def picky(transaction: str, amount: int) -> int:
            if amount < 0:
                raise ValueError("below zero")
            return amount

        with pytest.raises(ValueError, match="below zero"):
            picky("tx-1", -1)
        assert picky("tx-1", 5) == 5
        row = TaskExecution.objects.get()
        assert (row.attempt, row.arguments) == (2, {"transaction": "tx-1", "amount": 5})
        with pytest.raises(PayloadMismatch):
            picky("tx-1", -1)

    def test_an_expired_execution_binds_nobody(self, clock: Clock) -> None:
        by_name("tx-1", 100)
        clock.forward(hours=25)
        by_name("tx-1", 101)
        assert list(Effect.objects.values_list("note", flat=True)) == ["100", "101"]

    def test_a_cleared_execution_binds_nobody(self) -> None:
        by_name("tx-1", 100)
        assert clear_idempotency_key(name(by_name), ["tx-1", 999])
        by_name("tx-1", 101)
        assert list(Effect.objects.values_list("note", flat=True)) == ["100", "101"]
