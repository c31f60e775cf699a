"""A follow-up is sent if, and only if, the effects it follows from are committed."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pgtrigger
import psycopg
import pytest
from celery import chain, group, shared_task
from django.conf import settings
from django.db import transaction
from pytest_django import Settings

from ledger import LostClaim, UnusableArgument, current_execution, idempotent_task, periods
from ledger.models import OutboxMessage, TaskExecution
from ledger.outbox import publish, relay
from ledger.sweep import sweep
from ledger.tasks import relay as relay_task
from ledger.testing import Clock
from tests.ledger.guarantees.locks import cut
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, at_once
from tests.testapp.models import Effect
from tests.workers import ROOT, process_environment

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]


@shared_task
def send(*args: Any, **kwargs: Any) -> None:
    """Never run here: its message is what is looked at."""


@shared_task
@idempotent_task()
def pay(number: int) -> str:
    Effect.objects.create(key=str(number))
    return str(current_execution().enqueue(send.s(number)).id)


@idempotent_task(guarantee="at_least_once")
def pay_outside(number: int) -> str:
    with transaction.atomic():
        Effect.objects.create(key=str(number))
        return str(current_execution().enqueue(send.s(number)).id)


def published(inbox: Inbox) -> list[tuple[str, Any]]:
    """Id and arguments of every message in the queue, which is emptied."""
    found = []
    while message := inbox.queue.get(no_ack=True):
        found.append((message.headers["id"], message.payload[0]))
    return found


def unpublished() -> int:
    return OutboxMessage.objects.filter(published_at=None).count()


@pytest.mark.parametrize("task", [pay, pay_outside])
def test_it_is_published_right_after_the_commit_and_not_before(inbox: Inbox, task: Any) -> None:
    id = task(7)

    assert published(inbox) == [(id, [7])]
    message = OutboxMessage.objects.get()
    assert (message.task_name, message.task_id, message.tries, message.error) == (
        send.name, id, 1, ""
    )  # fmt: skip
    assert message.published_at is not None
    assert message.published_at >= message.created_at
    assert message.execution == TaskExecution.objects.get()
    task(7)
    assert published(inbox) == []


def test_what_the_relay_has_published_meanwhile_is_not_published_again(inbox: Inbox) -> None:
    pay(7)
    assert len(published(inbox)) == 1
    assert publish("default", [OutboxMessage.objects.get().id]) == 0
    assert published(inbox) == []


def test_nothing_is_published_while_the_body_runs(inbox: Inbox) -> None:
    @idempotent_task()
    def task() -> bool:
        current_execution().enqueue(send.s(7))
        return inbox.is_empty

    assert task() is True
    assert len(published(inbox)) == 1


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_what_is_rolled_back_is_never_published(inbox: Inbox, guarantee: str) -> None:
    @idempotent_task(guarantee=guarantee)
    def task() -> None:
        with transaction.atomic():
            Effect.objects.create(key="7")
            current_execution().enqueue(send.s(7))
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        task()
    assert not Effect.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert published(inbox) == []


def test_a_caller_that_rolls_back_takes_it_along(inbox: Inbox) -> None:
    with transaction.atomic():
        pay(7)
        assert OutboxMessage.objects.count() == 1
        transaction.set_rollback(True)
    assert not OutboxMessage.objects.exists()
    assert published(inbox) == []


def test_what_a_lost_claim_sent_is_never_published(inbox: Inbox, session: Sessions) -> None:
    @idempotent_task()
    def task() -> None:
        current_execution().enqueue(send.s(7))
        session().execute("update ledger_taskexecution set attempt = attempt + 1")

    with pytest.raises(LostClaim):
        task()
    assert not OutboxMessage.objects.exists()
    assert published(inbox) == []


def test_a_body_that_was_taken_over_can_send_nothing_any_more(inbox: Inbox) -> None:
    @idempotent_task(guarantee="at_least_once")
    def task() -> int:
        if current_execution().attempt == 1:
            cut()
            with Elsewhere() as elsewhere:
                elsewhere.call(task).result(PATIENCE)
        current_execution().enqueue(send.s(current_execution().attempt))
        return current_execution().attempt

    with pytest.raises(LostClaim):
        task()
    assert [args for _, args in published(inbox)] == [[2]]


def test_a_step_sends_with_its_own_effects(inbox: Inbox) -> None:
    @idempotent_task(guarantee="at_least_once")
    def task() -> None:
        def part(number: int) -> None:
            current_execution().enqueue(send.s(number))
            if number == 2:
                raise ValueError("no")

        current_execution().step("one", part, 1)
        current_execution().step("two", part, 2)

    with pytest.raises(ValueError, match="no"):
        task()
    assert [args for _, args in published(inbox)] == [[1]]


def test_arguments_arrive_as_they_were(inbox: Inbox) -> None:
    @idempotent_task()
    def task() -> None:
        current_execution().enqueue(
            send.s(Decimal("1.50"), dt.date(2026, 11, 30), text="NUL \x00 \U0001f600", none=None)
        )

    task()
    arrived = inbox.take()
    arrived.message.ack()
    args, kwargs, _ = arrived.message.payload
    assert args == [Decimal("1.50"), dt.date(2026, 11, 30)]
    assert kwargs == {"text": "NUL \x00 \U0001f600", "none": None}


def test_the_callers_signature_stays_as_it_was() -> None:
    signature = chain(send.s(1), group(send.s(2), send.s(3)))
    before = repr(dict(signature)), signature.tasks[0].options.copy()

    @idempotent_task()
    def task() -> list[str]:
        return [str(current_execution().enqueue(signature).id) for _ in range(2)]

    first, second = task()
    assert first != second
    assert (repr(dict(signature)), signature.tasks[0].options) == before


class TestRefusals:
    @pytest.mark.parametrize("what", [send, "send", None, lambda: None])
    def test_a_follow_up_is_a_signature(self, what: Any) -> None:
        @idempotent_task()
        def task() -> None:
            current_execution().enqueue(what)

        with pytest.raises(UnusableArgument, match=r"idempotent:.*takes a signature.*task\.s\(7\)"):
            task()

    def test_its_arguments_can_be_sent(self) -> None:
        @idempotent_task()
        def task() -> None:
            current_execution().enqueue(send.s(object()))

        with pytest.raises(UnusableArgument, match=r"arguments of .*send cannot be sent as JSON"):
            task()
        assert not OutboxMessage.objects.exists()


class TestRelay:
    @pytest.fixture
    def left(self, inbox: Inbox, clock: Clock) -> Callable[[int], list[str]]:
        """Leaves follow-ups behind, as workers do that die between the commit and publishing."""

        def leave(count: int) -> list[str]:
            ids = [pay(number) for number in range(count)]
            published(inbox)
            OutboxMessage.objects.update(published_at=None, tries=0)
            clock.forward(seconds=11)
            return ids

        return leave

    @pytest.fixture
    def small_batches(self, settings: Settings) -> None:
        settings.LEDGER = {"RELAY_BATCH": 2}

    def test_it_publishes_what_was_left_with_the_same_id(
        self, inbox: Inbox, left: Callable[[int], list[str]]
    ) -> None:
        ids = left(3)
        assert relay() == 3
        assert published(inbox) == [(id, [n]) for n, id in enumerate(ids)]
        assert relay() == 0
        assert published(inbox) == []

    def test_it_leaves_alone_what_its_own_worker_may_be_publishing(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        pay(7)
        published(inbox)
        OutboxMessage.objects.update(published_at=None)
        assert relay() == 0
        clock.forward(seconds=11)
        assert relay() == 1

    def test_what_somebody_is_publishing_is_neither_waited_for_nor_published_twice(
        self, inbox: Inbox, left: Callable[[int], list[str]], session: Sessions
    ) -> None:
        left(3)
        other = session()
        other.execute("begin")
        other.execute("select from ledger_outboxmessage order by id limit 1 for update")
        assert relay() == 2
        other.execute("commit")
        assert relay() == 1
        assert len(published(inbox)) == 3

    def test_many_at_once_publish_each_message_once(
        self, inbox: Inbox, left: Callable[[int], list[str]], small_batches: None
    ) -> None:
        ids = left(40)

        counts = at_once(5, lambda i: relay())

        assert sum(count for count in counts if isinstance(count, int)) == 40
        assert sorted(id for id, _ in published(inbox)) == sorted(ids)

    def test_it_works_through_more_than_a_batch(
        self, inbox: Inbox, left: Callable[[int], list[str]], small_batches: None
    ) -> None:
        left(5)
        assert relay_task() == 5

    def test_what_no_broker_takes_keeps_nothing_else_back(
        self, inbox: Inbox, left: Callable[[int], list[str]], small_batches: None
    ) -> None:
        ids = left(6)
        poisoned = OutboxMessage.objects.order_by("id")[:3]
        for message in poisoned:
            spoilt = {**message.message, "options": {"serializer": "no such thing"}}
            with pgtrigger.ignore("ledger.OutboxMessage:origin_kept"):
                OutboxMessage.objects.filter(id=message.id).update(message=spoilt)

        assert relay() == 3

        assert [id for id, _ in published(inbox)] == ids[3:]
        for message in OutboxMessage.objects.order_by("id")[:3]:
            assert message.published_at is None
            assert message.tries == 1
            assert "no such thing" in message.error

    def test_what_is_unpublished_is_not_purged(
        self, left: Callable[[int], list[str]], clock: Clock
    ) -> None:
        left(2)
        OutboxMessage.objects.filter(id=OutboxMessage.objects.latest("id").id).update(
            published_at=dt.datetime.now(dt.UTC)
        )
        clock.forward(days=2)
        assert sweep()["retired"] == 2
        clock.forward(days=401)
        assert sweep()["purged"] == 1
        assert TaskExecution.objects.count() == OutboxMessage.objects.count() == unpublished() == 1


class TestUnreachableBroker:
    """Nothing listens on port 1."""

    CALL = (
        "import django; django.setup()\n"
        "from tests.ledger.guarantees.test_outbox import pay\n"
        "from ledger.outbox import relay\n"
        "print('returned', {})\n"
    )

    def elsewhere(self, expression: str) -> str:
        environment = process_environment() | {
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            "CELERY_RESULT_BACKEND": settings.CELERY_RESULT_BACKEND,
        }
        done = subprocess.run(
            [sys.executable, "-c", self.CALL.format(expression)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def test_at_the_commit_it_fails_nothing_and_the_relay_publishes_later(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        told = self.elsewhere("pay(7)")

        message = OutboxMessage.objects.get()
        assert f"returned {message.task_id}" in told
        assert "the relay will try again" in told
        assert TaskExecution.objects.get().state == "completed"
        assert (message.published_at, message.tries) == (None, 1)
        assert "OperationalError" in message.error

        clock.forward(seconds=11)
        assert relay() == 1
        assert published(inbox) == [(message.task_id, [7])]
        message.refresh_from_db()
        assert (message.tries, message.error) == (2, "")

    def test_a_relay_finds_it_out_before_it_tries_message_after_message(
        self, inbox: Inbox, clock: Clock
    ) -> None:
        for number in range(3):
            pay(number)
        published(inbox)
        OutboxMessage.objects.update(published_at=None, tries=0)
        clock.forward(seconds=11)

        assert "returned 0" in self.elsewhere("relay()")

        assert set(OutboxMessage.objects.values_list("tries", flat=True)) == {0}
        assert relay() == 3


class TestPeriods:
    """The period is that of the commit, whenever the message gets away."""

    @pytest.fixture
    def tomorrow(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        now = periods.now()
        monkeypatch.setattr(periods, "now", lambda: now)

        def midnight() -> None:
            monkeypatch.setattr(periods, "now", lambda: now + dt.timedelta(days=1))

        return midnight

    def left(self, inbox: Inbox, clock: Clock, signature: Any) -> None:
        @idempotent_task()
        def task() -> None:
            current_execution().enqueue(signature)

        task()
        published(inbox)
        OutboxMessage.objects.update(published_at=None)
        clock.forward(seconds=11)

    def test_it_is_pinned_when_the_body_sends_it(
        self, inbox: Inbox, clock: Clock, tomorrow: Callable[[], None]
    ) -> None:
        today = periods.stamp()
        self.left(inbox, clock, send.s(7))
        tomorrow()
        relay()
        assert inbox.take().headers["ledger_period"] == today

    def test_an_explicit_one_is_kept(self, inbox: Inbox, clock: Clock) -> None:
        explicit = send.s(7).set(headers={"ledger_period": "2026-01-31", "own": "kept"})
        self.left(inbox, clock, explicit)
        relay()
        headers = inbox.take().headers
        assert (headers["ledger_period"], headers["own"]) == ("2026-01-31", "kept")

    def test_every_part_of_a_canvas_has_it(
        self, inbox: Inbox, clock: Clock, tomorrow: Callable[[], None]
    ) -> None:
        today = periods.stamp()
        self.left(inbox, clock, chain(send.s(1), group(send.s(2), send.s(3)), send.s(4)))
        tomorrow()
        relay()
        first = inbox.take()
        rest = first.message.payload[2]["chain"]
        assert first.headers["ledger_period"] == today
        text = str(rest)
        assert text.count(f"'ledger_period': '{today}'") >= 3
