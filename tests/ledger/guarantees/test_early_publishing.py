"""What an exactly-once body publishes by itself may be announced and then rolled back."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
from celery import chain, group, shared_task
from celery.exceptions import Retry
from django.db import transaction

from ledger import current_execution, idempotent_task
from ledger.early import EarlyPublish
from ledger.models import OutboxMessage
from ledger.outbox import publish
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits

pytestmark = [commits, pytest.mark.usefixtures("inbox")]


@shared_task
def send(*args: Any) -> None:
    """Never run here."""


@shared_task(bind=True, max_retries=1)
@idempotent_task()
def retrying_itself(self: Any) -> None:
    raise self.retry(countdown=0)


@shared_task(bind=True, autoretry_for=(ValueError,), default_retry_delay=0)
@idempotent_task()
def retried(self: Any) -> None:
    raise ValueError


@shared_task(bind=True)
@idempotent_task()
def publishing(self: Any) -> None:
    send.delay()


WAYS = {
    "delay": lambda: send.delay(1),
    "apply_async": lambda: send.apply_async((1,)),
    "signature": lambda: send.s(1).delay(),
    "send_task": lambda: send.app.send_task(send.name),
    "chain": lambda: chain(send.s(1), send.s(2)).delay(),
    "group": lambda: group(send.s(1)).delay(),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_it_is_warned_of_with_the_line_and_the_remedy(way: Any) -> None:
    @idempotent_task()
    def task() -> None:
        way()

    with pytest.warns(EarlyPublish) as caught:
        task()

    (warning,) = caught
    assert warning.filename == __file__
    assert warning.lineno == inspect.getsourcelines(way)[1]
    text = str(warning.message)
    assert f"{send.name} is published inside the body of {__name__}." in text
    assert "current_execution().enqueue(task.s(...))" in text
    assert "transaction.on_commit()" in text


def test_a_workers_body_is_warned_too(inbox: Inbox) -> None:
    publishing.delay()
    with pytest.warns(EarlyPublish, match=rf"inside the body of {publishing.name}"):
        inbox.take().run()


class TestSilence:
    """None of these can announce what is then rolled back, or they are meant to."""

    @pytest.fixture(autouse=True)
    def warnings_are_errors(self) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", EarlyPublish)
            yield
        assert [w for w in caught if issubclass(w.category, EarlyPublish)] == []

    @pytest.mark.parametrize("task", [retrying_itself, retried])
    def test_for_a_retry_of_itself(self, inbox: Inbox, task: Any) -> None:
        task.delay()
        assert isinstance(inbox.take().run(), Retry)
        assert not inbox.is_empty

    def test_for_publishing_on_commit(self, inbox: Inbox) -> None:
        @idempotent_task()
        def task() -> None:
            transaction.on_commit(lambda: send.delay(1))

        task()
        assert not inbox.is_empty

    def test_for_a_follow_up(self, inbox: Inbox) -> None:
        @idempotent_task()
        def task() -> None:
            current_execution().enqueue(send.s(1))

        task()
        assert not inbox.is_empty

    def test_for_what_was_committed_before(self, inbox: Inbox) -> None:
        @idempotent_task()
        def sending() -> None:
            current_execution().enqueue(send.s(1))

        @idempotent_task()
        def relaying() -> int:
            return publish("default", [OutboxMessage.objects.get().id])

        sending()
        OutboxMessage.objects.update(published_at=None)
        assert relaying() == 1

    def test_for_a_body_that_commits_by_itself(self, inbox: Inbox) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            send.delay(1)

        task()
        assert not inbox.is_empty

    def test_outside_of_a_body(self, inbox: Inbox) -> None:
        send.delay(1)
        with transaction.atomic():
            send.delay(1)
