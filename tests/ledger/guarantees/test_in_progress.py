"""A delivery that meets a living run of its execution, by choice, task style and origin."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.exceptions import Retry
from pytest_django import Settings

from ledger import ExecutionInProgress, idempotent_task, make_idempotency_key
from ledger.models import ExecutionEvent, TaskExecution
from ledger.protocol import Looks
from tests.ledger.guarantees.tasks import AUTORETRY, CHOOSING
from tests.ledger.inbox import Arrived, Inbox
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.testapp import faults
from tests.testapp.models import Effect

pytestmark = commits

EVERY = pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once", "at_most_once"])
STYLE = pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"])


class Running:
    """One run that stands still in its body, until it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside, self.go_on, self.waited = (threading.Event() for _ in range(3))
        may_wait = Looks._may_wait

        def reached(point: str, attempt: int) -> None:
            if point == "body":
                self.inside.set()
                wait_for(self.go_on)

        def seen(looks: Looks) -> bool:
            self.waited.set()
            return may_wait(looks)

        monkeypatch.setattr(faults, "reached", reached)
        monkeypatch.setattr(Looks, "_may_wait", seen)

    @contextmanager
    def of(self, task: Any, key: str) -> Iterator[None]:
        with Elsewhere() as elsewhere:
            first = elsewhere.call(task, key)
            wait_for(self.inside)
            try:
                yield
            finally:
                self.go_on.set()
            assert first.result(PATIENCE)["attempt"] == 1

    def let_go_when_waited_for(self) -> None:
        wait_for(self.waited)
        self.go_on.set()


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    return Running(monkeypatch)


def deliver(inbox: Inbox, task: Any, key: str) -> Any:
    task.delay(key)
    return inbox.take().run()


def answer(task: Any, key: str) -> Any:
    found = TaskExecution.objects.get(key=make_idempotency_key(task.name, [key]))
    assert (found.state, found.attempt) == ("completed", 1)
    return found.result


@EVERY
@STYLE
class TestMessages:
    def test_retry_puts_it_back_and_answers_it_later(
        self, inbox: Inbox, key: str, running: Running, guarantee: str, bound: bool
    ) -> None:
        task = CHOOSING["retry", guarantee, bound]
        with running.of(task, key):
            outcome = deliver(inbox, task, key)
            assert isinstance(outcome, Retry)
            assert isinstance(outcome.exc, ExecutionInProgress)
            copy: Arrived = inbox.take()
        assert copy.headers["retries"] == 0
        assert copy.run() == answer(task, key)
        assert inbox.is_empty
        assert Effect.objects.count() == 1

    def test_skip_drops_it_without_a_result(
        self, inbox: Inbox, key: str, running: Running, guarantee: str, bound: bool
    ) -> None:
        task = CHOOSING["skip", guarantee, bound]
        with running.of(task, key):
            assert deliver(inbox, task, key) is None
            assert inbox.is_empty
        assert deliver(inbox, task, key) == answer(task, key)
        assert Effect.objects.count() == 1

    def test_wait_waits_and_answers_it(
        self, inbox: Inbox, key: str, running: Running, guarantee: str, bound: bool
    ) -> None:
        task = CHOOSING["wait", guarantee, bound]
        with running.of(task, key):
            helper = threading.Thread(target=running.let_go_when_waited_for)
            helper.start()
            outcome = deliver(inbox, task, key)
            helper.join()
        assert outcome == answer(task, key)
        assert inbox.is_empty
        assert Effect.objects.count() == 1

    def test_wait_is_bounded_and_then_puts_it_back(
        self, inbox: Inbox, key: str, running: Running, settings: Settings, guarantee: str,
        bound: bool,
    ) -> None:  # fmt: skip
        settings.LEDGER = {"WAIT_SECONDS": 1}
        task = CHOOSING["wait", guarantee, bound]
        with running.of(task, key):
            begun = time.monotonic()
            assert isinstance(deliver(inbox, task, key), Retry)
            assert 1 <= time.monotonic() - begun < 5
            copy = inbox.take()
        assert copy.run() == answer(task, key)

    def test_raise_fails_it(
        self, inbox: Inbox, key: str, running: Running, guarantee: str, bound: bool
    ) -> None:
        task = CHOOSING["raise", guarantee, bound]
        with running.of(task, key):
            outcome = deliver(inbox, task, key)
            assert isinstance(outcome, ExecutionInProgress)
            assert inbox.is_empty
        assert Effect.objects.count() == 1
        assert not ExecutionEvent.objects.exists()


class TestAutoretry:
    """The decorator is inside of ``autoretry_for``."""

    def test_retry_uses_up_none_of_the_tasks_own(
        self, inbox: Inbox, key: str, running: Running
    ) -> None:
        task = AUTORETRY["retry"]
        with running.of(task, key):
            assert isinstance(deliver(inbox, task, key), Retry)
            copy = inbox.take()
            assert (copy.headers["retries"], copy.headers["ledger_copies"]) == (0, 1)
        assert copy.run() == answer(task, key)

    def test_raise_leaves_it_to_the_tasks_own(
        self, inbox: Inbox, key: str, running: Running
    ) -> None:
        task = AUTORETRY["raise"]
        with running.of(task, key):
            assert isinstance(deliver(inbox, task, key), Retry)
            copy = inbox.take()
            assert copy.headers["retries"] == 1
            assert "ledger_copies" not in copy.headers
        assert copy.run() == answer(task, key)


@EVERY
class TestDirectCalls:
    """There is no message to put back."""

    @pytest.mark.parametrize("choice", ["retry", "raise"])
    def test_retry_and_raise_tell_the_caller(
        self, key: str, running: Running, guarantee: str, choice: str
    ) -> None:
        task = CHOOSING[choice, guarantee, True]
        with running.of(task, key):
            with pytest.raises(ExecutionInProgress, match=r"idempotent:.*another worker"):
                task(key)
            with pytest.raises(ExecutionInProgress):
                task.apply((key,)).get()

    def test_skip_returns_none(self, key: str, running: Running, guarantee: str) -> None:
        task = CHOOSING["skip", guarantee, False]
        with running.of(task, key):
            assert task(key) is None
            assert task.apply((key,)).get() is None

    def test_wait_waits_for_the_answer(self, key: str, running: Running, guarantee: str) -> None:
        task = CHOOSING["wait", guarantee, False]
        with running.of(task, key):
            helper = threading.Thread(target=running.let_go_when_waited_for)
            helper.start()
            outcome = task(key)
            helper.join()
        assert outcome == answer(task, key)

    def test_wait_is_bounded_and_then_tells_the_caller(
        self, key: str, running: Running, settings: Settings, guarantee: str
    ) -> None:
        settings.LEDGER = {"WAIT_SECONDS": 1}
        task = CHOOSING["wait", guarantee, False]
        with running.of(task, key), pytest.raises(ExecutionInProgress):
            task(key)

    def test_wait_runs_it_where_the_other_one_fails(self, guarantee: str) -> None:
        inside, go_on = threading.Event(), threading.Event()
        runs: list[int] = []

        safe: Any = {"safe_to_retry": (ValueError,)} if guarantee == "at_most_once" else {}

        @idempotent_task(guarantee=guarantee, on_in_progress="wait", **safe)
        def task() -> int:
            runs.append(1)
            if len(runs) == 1:
                inside.set()
                wait_for(go_on)
                raise ValueError("the first one's")
            return len(runs)

        with Elsewhere() as elsewhere:
            first = elsewhere.call(task)
            wait_for(inside)
            second = elsewhere.call(task)
            go_on.set()
            with pytest.raises(ValueError, match="the first one's"):
                first.result(PATIENCE)
            assert second.result(PATIENCE) == 2
