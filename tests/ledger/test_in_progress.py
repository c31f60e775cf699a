"""A message that meets a living run of its execution is put back, and costs nobody a retry."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import shared_task
from celery.exceptions import Retry
from pytest_django import Settings

from ledger import ExecutionInProgress, idempotent_task
from ledger.models import ExecutionEvent, TaskExecution
from tests.ledger.inbox import Arrived, Inbox
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.testapp.models import Effect

pytestmark = commits


class Meeting:
    """Two deliveries of one execution, the first of which stands still in its body."""

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.inside, self.go_on = threading.Event(), threading.Event()

    @contextmanager
    def running(self, task: Any) -> Iterator[None]:
        self.inside.clear()
        self.go_on.clear()
        with Elsewhere() as elsewhere:
            first = elsewhere.call(task, 7)
            wait_for(self.inside)
            try:
                yield
            finally:
                self.go_on.set()
            assert first.result(PATIENCE) == 7

    def second_message(self, task: Any, **options: Any) -> tuple[Any, Arrived | None]:
        """What becomes of a message that arrives meanwhile, and the copy that it left, if any."""
        with self.running(task):
            task.apply_async((7,), **options)
            outcome = self.inbox.take().run()
            return outcome, None if self.inbox.is_empty else self.inbox.take()


now: list[Meeting] = []


def body(number: int) -> int:
    Effect.objects.create(key=str(number))
    now[0].inside.set()
    wait_for(now[0].go_on)
    return number


@shared_task(max_retries=0)
@idempotent_task()
def retried(number: int) -> int:
    return body(number)


@shared_task(bind=True, max_retries=3, autoretry_for=(ConnectionError,))
@idempotent_task(on_in_progress="raise")
def raising(self: Any, number: int) -> int:
    return body(number)


@pytest.fixture
def meeting(inbox: Inbox) -> Meeting:
    now[:] = [Meeting(inbox)]
    return now[0]


def test_a_copy_is_left_for_later_and_answers_when_the_run_is_done(meeting: Meeting) -> None:
    outcome, copy = meeting.second_message(
        retried, headers={"ledger_period": "2026-11-01", "own": "kept"}, retries=2
    )
    assert isinstance(outcome, Retry)
    assert isinstance(outcome.exc, ExecutionInProgress)
    assert copy is not None
    assert copy.headers["retries"] == 2
    assert copy.headers["ledger_copies"] == 1
    assert copy.headers["ledger_period"] == "2026-11-01"
    assert copy.headers["own"] == "kept"
    assert copy.run() == 7
    assert meeting.inbox.is_empty
    assert Effect.objects.count() == 1
    assert TaskExecution.objects.get().attempt == 1
    assert ExecutionEvent.objects.get().kind == "skipped"


def test_the_task_keeps_its_own_limit_of_retries(meeting: Meeting) -> None:
    meeting.second_message(retried)
    assert retried.max_retries == 0


def test_the_wait_doubles_up_to_its_maximum(meeting: Meeting, settings: Settings) -> None:
    settings.LEDGER = {"BUSY_COUNTDOWN": 2, "BUSY_COUNTDOWN_MAX": 10}
    with meeting.running(retried):
        for copies, longest in [(0, 2), (1, 4), (2, 8), (3, 10), (500, 10)]:
            headers: dict[str, Any] = {"ledger_copies": copies} if copies else {}
            retried.apply_async((7,), headers=headers)
            before = dt.datetime.now(dt.UTC)
            meeting.inbox.take().run()
            after = dt.datetime.now(dt.UTC)
            copy = meeting.inbox.take()
            due = dt.datetime.fromisoformat(copy.headers["eta"])
            assert before + dt.timedelta(seconds=longest * 0.75) <= due
            assert due <= after + dt.timedelta(seconds=longest)
            assert copy.headers["ledger_copies"] == copies + 1


def test_on_in_progress_raise_fails_the_message(meeting: Meeting) -> None:
    outcome, copy = meeting.second_message(raising)
    assert isinstance(outcome, ExecutionInProgress)
    assert copy is None


def test_an_eager_call_raises_for_there_is_no_message_to_put_back(meeting: Meeting) -> None:
    with meeting.running(retried):
        with pytest.raises(ExecutionInProgress):
            retried.apply((7,)).get()
        assert meeting.inbox.is_empty
