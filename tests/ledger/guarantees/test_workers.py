"""Real workers, really killed: what each guarantee makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from celery.exceptions import TimeLimitExceeded
from celery.result import AsyncResult

from ledger import ExecutionHeld, LostClaim, make_idempotency_key, release
from ledger.models import ExecutionEvent, TaskExecution
from ledger.sweep import recover
from ledger.testing import Clock, Crash, Worker, crash_at
from tests.ledger.guarantees.tasks import (
    announced,
    careful,
    careful_retried,
    careful_retrying_itself,
    deadly,
    least,
    most,
    retried,
    stepwise,
)
from tests.ledger.marks import commits
from tests.ledger.workers.site import Gate
from tests.testapp.faults import Fault
from tests.testapp.models import Effect
from tests.workers import wait_until

pytestmark = commits


def effects(key: str) -> list[str]:
    return list(Effect.objects.filter(key=key).order_by("id").values_list("note", flat=True))


def execution(task: Any, key: str) -> TaskExecution:
    return TaskExecution.objects.get(key=make_idempotency_key(task.name, [key]), retired_at=None)


def story(task: Any, key: str) -> list[tuple[str, int]]:
    found = ExecutionEvent.objects.filter(execution__key=make_idempotency_key(task.name, [key]))
    return list(found.order_by("id").values_list("kind", "attempt"))


def publish(task: Any, key: str, point: str, times: int = 1) -> tuple[AsyncResult, Crash]:
    with crash_at(point, times=times) as crash:
        result = task.delay(key)
    return result, crash


def failing(*attempts: int) -> dict[str, Any]:
    return {"headers": asking([{"at": "body", "do": "fail", "attempts": list(attempts)}])}


def asking(faults: list[Fault]) -> Any:
    return {"faults": faults}


@pytest.mark.parametrize("point", ["after_claim", "in_body", "before_commit"])
def test_at_least_once_a_worker_killed_before_the_completion_is_taken_over(
    worker: Worker, key: str, point: str
) -> None:
    result, _ = publish(least, key, point)

    assert result.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"] if point == "after_claim" else ["attempt 1", "attempt 2"]
    row = execution(least, key)
    assert (row.state, row.attempt, row.crashes) == ("completed", 2, 0)
    assert story(least, key) == [("abandoned", 1), ("taken_over", 2)]


@pytest.mark.parametrize("point", ["after_claim", "in_body", "before_commit"])
def test_at_most_once_a_worker_killed_before_the_completion_is_held(
    worker: Worker, key: str, point: str
) -> None:
    result, _ = publish(most, key, point)

    with pytest.raises(ExecutionHeld, match="ledger release"):
        result.get(timeout=30)
    assert effects(key) == ([] if point == "after_claim" else ["attempt 1"])
    row = execution(most, key)
    assert (row.state, row.attempt, row.crashes) == ("held", 1, 1)
    assert story(most, key) == [("abandoned", 1), ("held", 1)]
    assert "may have taken effect" in row.events.get(kind="held").reason

    with pytest.raises(ExecutionHeld):
        most.delay(key).get(timeout=30)
    assert len(effects(key)) <= 1


@pytest.mark.parametrize("task", [least, most])
def test_a_worker_killed_after_the_completion_replays_its_result(
    worker: Worker, key: str, task: Any
) -> None:
    result, _ = publish(task, key, "after_commit")

    answer = result.get(timeout=30)
    assert answer["attempt"] == 1
    assert answer == execution(task, key).result
    assert effects(key) == ["attempt 1"]
    assert story(task, key) == [("skipped", 1)]


class TestLostClaims:
    """Somebody decided about an attempt whose worker lives: here, that it has failed."""

    def lose(self, worker: Worker, task: Any, key: str, folder: Path) -> AsyncResult:
        gate = Gate(folder / "gate")
        result = task.apply_async((key,), headers=asking([gate.fault()]))
        gate.wait_until_reached()
        TaskExecution.objects.update(state="failed")
        gate.open()
        return result

    @pytest.mark.parametrize("task", [announced, least])
    def test_the_message_is_put_back_and_runs_the_next_attempt(
        self, worker: Worker, key: str, task: Any, tmp_path: Path
    ) -> None:
        result = self.lose(worker, task, key, tmp_path)

        assert result.get(timeout=30)
        row = execution(task, key)
        assert (row.state, row.attempt, row.task_id) == ("completed", 2, result.id)
        assert story(task, key) == [("lost_claim", 1)]

    def test_at_most_once_it_is_not_put_back_because_what_it_did_stands(
        self, worker: Worker, key: str, tmp_path: Path
    ) -> None:
        result = self.lose(worker, most, key, tmp_path)

        with pytest.raises(LostClaim, match="stands"):
            result.get(timeout=30)
        assert (execution(most, key).attempt, effects(key)) == (1, ["attempt 1"])


def test_the_provider_gets_the_same_key_after_a_crash(worker: Worker, key: str) -> None:
    result, crash = publish(least, key, "after_claim")
    crash.wait()
    first = result.get(timeout=30)
    assert first["attempt"] == 2
    release_key = make_idempotency_key(least.name, [key])
    assert first["key"] == execution(least, key).result["key"]
    assert least.delay(key).get(timeout=30)["key"] == first["key"]
    assert TaskExecution.objects.filter(key=release_key).count() == 1


def test_a_task_that_keeps_killing_its_workers_is_held(worker: Worker, key: str) -> None:
    """``max_crashes=1``: one crash is followed by another attempt, the second is not."""
    result, crash = publish(deadly, key, "in_body", times=9)

    with pytest.raises(ExecutionHeld, match="2 in a row"):
        result.get(timeout=60)
    assert crash.happened == 2
    assert effects(key) == ["attempt 1", "attempt 2"]
    row = execution(deadly, key)
    assert (row.state, row.attempt, row.crashes) == ("held", 2, 2)
    assert story(deadly, key) == [
        ("abandoned", 1), ("taken_over", 2), ("abandoned", 2), ("held", 2)
    ]  # fmt: skip
    assert row.events.get(kind="held").reason == "2 workers lost in a row"


def test_what_is_held_runs_on_when_a_person_says_that_it_failed(worker: Worker, key: str) -> None:
    result, _ = publish(most, key, "in_body")
    with pytest.raises(ExecutionHeld):
        result.get(timeout=30)

    release(execution(most, key).key, "failed", reason="the bank has no such transfer", actor="ana")

    assert most.delay(key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 1", "attempt 2"]


def test_recovery_finds_what_a_hard_time_limit_left_and_holds_what_may_have_happened(
    worker: Worker, key: str, clock: Clock
) -> None:
    """The message of a task that was stopped for good is acknowledged: nothing redelivers it."""
    headers: Any = {"faults": [{"at": "body", "do": "hang"}]}
    results = [
        task.apply_async((key,), headers=headers, time_limit=1, soft_time_limit=0)
        for task in (least, most)
    ]
    for result in results:
        with pytest.raises(TimeLimitExceeded):
            result.get(timeout=30)
    wait_until(lambda: effects(key) == ["attempt 1"] * 2)
    clock.forward(minutes=1)

    def recovered() -> bool:
        recover(actor="ana")
        return {execution(task, key).state for task in (least, most)} == {"failed", "held"}

    wait_until(recovered)
    assert story(least, key) == [("abandoned", 1)]
    assert story(most, key) == [("abandoned", 1), ("held", 1)]
    assert least.delay(key).get(timeout=30)["attempt"] == 2
    with pytest.raises(ExecutionHeld):
        most.delay(key).get(timeout=30)


class TestFailures:
    @pytest.mark.parametrize("task", [retried, careful_retried, careful_retrying_itself])
    def test_what_may_be_retried_is_retried_by_celery_and_runs_again(
        self, worker: Worker, key: str, task: Any
    ) -> None:
        answer = task.apply_async((key,), **failing(1, 2)).get(timeout=30)

        assert answer["attempt"] == 3
        assert effects(key) == ["attempt 1", "attempt 2", "attempt 3"]
        assert story(task, key) == [("failed", 1), ("failed", 2)]

    def test_at_most_once_a_failure_in_doubt_is_held(self, worker: Worker, key: str) -> None:
        fails = most.apply_async((key,), **failing(1))
        with pytest.raises(Exception, match="not this time"):
            fails.get(timeout=30)
        with pytest.raises(ExecutionHeld):
            most.delay(key).get(timeout=30)
        assert effects(key) == ["attempt 1"]
        assert story(most, key) == [("failed", 1), ("held", 1)]

    def test_a_safe_failure_fails_the_message_and_the_next_one_runs(
        self, worker: Worker, key: str
    ) -> None:
        fails = careful.apply_async((key,), **failing(1))
        with pytest.raises(Exception, match="not this time"):
            fails.get(timeout=30)
        assert careful.delay(key).get(timeout=30)["attempt"] == 2


class TestSteps:
    @pytest.mark.parametrize("number", [1, 3, 5])
    def test_a_worker_killed_at_a_step_goes_on_there(
        self, worker: Worker, key: str, number: int
    ) -> None:
        """A step is one transaction: what the killed one wrote is gone, and it is done anew."""
        faults = [{"at": f"step {number}", "do": "kill_child"}]
        result = stepwise.apply_async((key,), headers=asking(faults))

        answer = result.get(timeout=30)
        assert answer == {"attempt": 2, "parts": [10, 20, 30, 40, 50], "done": 5}
        attempts = [1 if n < number else 2 for n in range(1, 6)]
        assert effects(key) == [f"step {n} in attempt {a}" for n, a in enumerate(attempts, 1)]
        steps = execution(stepwise, key).steps.order_by("id")
        assert list(steps.values_list("name", "attempt", "result")) == [
            (f"part {n}", a, n * 10) for n, a in enumerate(attempts, 1)
        ]

    def test_a_worker_that_loses_its_connection_at_a_step_goes_on_there(
        self, worker: Worker, key: str
    ) -> None:
        """One message, no failure and nobody's retry: it is put back, and goes on."""
        faults = [{"at": "step 3", "do": "lose_connection"}]
        result = stepwise.apply_async((key,), headers=asking(faults))

        assert result.get(timeout=30) == {"attempt": 2, "parts": [10, 20, 30, 40, 50], "done": 5}
        assert len(effects(key)) == 5

    def test_killed_at_every_step_it_still_does_each_of_them_once(
        self, worker: Worker, key: str
    ) -> None:
        """Three crashes in a row are allowed; a step done in between starts the count anew."""
        faults = [{"at": f"step {n}", "do": "kill_child", "attempts": [n]} for n in range(1, 6)]
        result = stepwise.apply_async((key,), headers=asking(faults))

        assert result.get(timeout=60)["attempt"] == 6
        assert len(effects(key)) == 5


def test_a_main_process_that_used_a_lock_before_forking_shares_it_with_no_child(
    start: Callable[..., Worker],
) -> None:
    worker = start(2, "tests.ledger.guarantees.parent_first")
    who = current_app.signature("tests.ledger.guarantees.parent_first.who")
    for number in range(1, 9):
        who.clone((number,)).apply_async()
    wait_until(lambda: len(effects("who")) == 9, what="nine runs")

    parents, *children = (note.split()[1] for note in effects("who"))
    assert parents not in children
    assert 1 <= len(set(children)) <= 2
    assert "None" not in {parents, *children}
    worker.kill()
