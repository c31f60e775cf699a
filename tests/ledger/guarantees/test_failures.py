"""What a failure of the body means: it may run again, or a person decides."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import Retry

from ledger import (
    ExecutionHeld,
    LedgerUnavailable,
    UnstorableResult,
    current_execution,
    idempotent_task,
)
from ledger.models import TaskExecution
from tests.ledger.death import die
from tests.ledger.marks import commits
from tests.testapp.models import Effect

pytestmark = commits


class Refused(Exception):
    """The provider's no: nothing was booked."""


class Declined(Refused):
    pass


class Failing:
    """A task that fails in its first attempt; its effect stands all the same."""

    def __init__(self, error: BaseException, **options: Any) -> None:
        self.keys: list[str] = []

        @idempotent_task(**options)
        def task(number: int) -> str:
            execution = current_execution()
            self.keys.append(execution.idempotency_key)
            Effect.objects.create(key=str(number), note=str(execution.attempt))
            if execution.attempt == 1:
                raise error
            return "done"

        self.task = task


def story() -> list[tuple[str, int]]:
    return list(TaskExecution.objects.get().events.order_by("id").values_list("kind", "attempt"))


def effects() -> list[str]:
    return list(Effect.objects.order_by("id").values_list("note", flat=True))


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_at_least_once_it_is_recorded_and_the_next_delivery_runs_it_again(
    error: BaseException,
) -> None:
    failing = Failing(error, guarantee="at_least_once")
    with pytest.raises(type(error)):
        failing.task(7)
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.error) == ("failed", 1, repr(error))
    assert "in task" in row.events.get().traceback

    assert failing.task(7) == "done"

    assert effects() == ["1", "2"]
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.crashes, row.error) == ("completed", 2, 0, "")
    assert story() == [("failed", 1)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt()])
def test_at_most_once_it_is_held_and_no_delivery_runs_it_again(error: BaseException) -> None:
    failing = Failing(error, guarantee="at_most_once")
    with pytest.raises(type(error)):
        failing.task(7)

    for _ in range(2):
        with pytest.raises(ExecutionHeld, match=r"idempotent:.*is held.*ledger release"):
            failing.task(7)

    assert effects() == ["1"]
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.error, row.expires_at) == ("held", 1, repr(error), None)
    assert story() == [("failed", 1), ("held", 1)]
    assert "in task" in row.events.get(kind="failed").traceback


@pytest.mark.parametrize("error", [Refused("no"), Declined("no"), Retry("later", Declined("no"))])
def test_at_most_once_what_is_safe_to_retry_runs_again(error: Exception) -> None:
    failing = Failing(error, guarantee="at_most_once", safe_to_retry=(KeyError, Refused))
    with pytest.raises(type(error)):
        failing.task(7)
    assert TaskExecution.objects.get().state == "failed"

    assert failing.task(7) == "done"

    assert effects() == ["1", "2"]
    assert story() == [("failed", 1)]


@pytest.mark.parametrize("error", [ValueError("no"), Retry("later", ValueError("no")), Retry()])
def test_at_most_once_nothing_else_is_safe_to_retry(error: Exception) -> None:
    failing = Failing(error, guarantee="at_most_once", safe_to_retry=(Refused,))
    with pytest.raises(type(error)):
        failing.task(7)
    assert TaskExecution.objects.get().state == "held"


def test_the_provider_gets_the_same_key_in_every_attempt() -> None:
    failing = Failing(ValueError("no"), guarantee="at_least_once")
    with pytest.raises(ValueError, match="no"):
        failing.task(7)
    failing.task(7)
    assert len(failing.keys) == 2
    assert len(set(failing.keys)) == 1


@pytest.mark.parametrize(
    ("guarantee", "state"), [("at_least_once", "failed"), ("at_most_once", "held")]
)
def test_a_result_that_cannot_be_stored_is_a_failure_that_does_not_pretend_to_be_undone(
    guarantee: str, state: str
) -> None:
    @idempotent_task(guarantee=guarantee)
    def task() -> object:
        Effect.objects.create(key="stands")
        return object()

    with pytest.raises(UnstorableResult, match="It ran and is not undone"):
        task()
    assert TaskExecution.objects.get().state == state
    assert Effect.objects.count() == 1


class TestABodyThatLosesItsDatabase:
    def test_at_least_once_it_runs_again_and_loses_nothing(self) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> int:
            attempt = current_execution().attempt
            Effect.objects.create(key="outside", note=str(attempt))
            if attempt == 1:
                die()
            return attempt

        with pytest.raises(LedgerUnavailable, match="Nothing is lost"):
            task()
        assert TaskExecution.objects.get().state == "failed"
        assert task() == 2
        assert effects() == ["1", "2"]

    def test_at_most_once_it_is_held(self) -> None:
        @idempotent_task(guarantee="at_most_once")
        def task() -> None:
            Effect.objects.create(key="outside", note="1")
            die()

        with pytest.raises(Exception, match="terminat"):
            task()
        assert TaskExecution.objects.get().state == "held"
        with pytest.raises(ExecutionHeld):
            task()
        assert effects() == ["1"]
