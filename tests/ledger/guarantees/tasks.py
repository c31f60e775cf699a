"""Tasks with effects outside: each is a row committed by itself, that no ledger takes back."""

from __future__ import annotations

from typing import Any

from celery import Task, current_task, shared_task

from ledger import ExecutionInProgress, current_execution, idempotent_task
from tests.testapp import faults
from tests.testapp.models import Effect

LEAST: Any = {"guarantee": "at_least_once"}
MOST: Any = {"guarantee": "at_most_once"}


def act(key: str) -> dict[str, Any]:
    """The body of most of them."""
    execution = current_execution()
    Effect.objects.create(key=key, note=f"attempt {execution.attempt}")
    faults.reached("body", execution.attempt)
    return {"attempt": execution.attempt, "key": execution.idempotency_key}


@shared_task(bind=True)
@idempotent_task(**LEAST)
def least(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_task(**MOST)
def most(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_task(max_crashes=1, **LEAST)
def deadly(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_task(safe_to_retry=(faults.Flaky,), **MOST)
def careful(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True, autoretry_for=(faults.Flaky,), default_retry_delay=0, max_retries=2)
@idempotent_task(**LEAST)
def retried(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True, autoretry_for=(faults.Flaky,), default_retry_delay=0, max_retries=2)
@idempotent_task(safe_to_retry=(faults.Flaky,), **MOST)
def careful_retried(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True, max_retries=2)
@idempotent_task(safe_to_retry=(faults.Flaky,), **MOST)
def careful_retrying_itself(self: Task, key: str) -> Any:
    try:
        return act(key)
    except faults.Flaky as error:
        raise self.retry(exc=error, countdown=0) from error


def part(key: str, number: int) -> int:
    """A step: its effect, then what the message asks for there."""
    Effect.objects.create(key=key, note=f"step {number} in attempt {current_execution().attempt}")
    faults.reached(f"step {number}", current_execution().attempt)
    return number * 10


@shared_task(bind=True)
@idempotent_task(**LEAST)
def stepwise(self: Task, key: str, parts: int = 5) -> Any:
    execution = current_execution()
    sums = [execution.step(f"part {n}", part, key, n) for n in range(1, parts + 1)]
    return {"attempt": execution.attempt, "parts": sums, "done": len(execution.steps_done)}


@shared_task(bind=True)
@idempotent_task()
def announced(self: Task, key: str, *next_keys: str) -> str:
    """Exactly once, and one follow-up for each of the other keys."""
    Effect.objects.create(key=key, note="announced")
    for next_key in next_keys:
        current_execution().enqueue(follow_up.s(next_key))
    faults.reached("body", current_execution().attempt)
    return key


@shared_task(bind=True)
@idempotent_task()
def follow_up(self: Task, key: str) -> str:
    Effect.objects.create(key=key, note=str(current_task.request.id))
    return key


@shared_task
@idempotent_task()
def follow_up_of(value: str, key: str) -> str:
    Effect.objects.create(key=key, note=value)
    return f"{value}, {key}"


@shared_task
@idempotent_task()
def total(values: list[str], key: str) -> str:
    Effect.objects.create(key=key, note=" + ".join(values))
    return key


def _choosing(choice: str, guarantee: str, *, bound: bool, **celery: Any) -> Task:
    """A task that does this when another run is in progress."""
    options: Any = {"guarantee": guarantee, "on_in_progress": choice}
    name = f"{__name__}.{choice}.{guarantee}.{'bound' if bound else 'unbound'}"
    if celery:
        name += ".autoretry"

    def run(key: str) -> Any:
        return act(key)

    def bound_run(self: Task, key: str) -> Any:
        return act(key)

    body = bound_run if bound else run
    body.__qualname__ = name.removeprefix(f"{__name__}.")
    return shared_task(bind=bound, name=name, **celery)(idempotent_task(**options)(body))


CHOOSING: dict[tuple[str, str, bool], Task] = {
    (choice, guarantee, bound): _choosing(choice, guarantee, bound=bound)
    for choice in ("retry", "skip", "wait", "raise")
    for guarantee in ("exactly_once", "at_least_once", "at_most_once")
    for bound in (True, False)
}

AUTORETRY: dict[str, Task] = {
    choice: _choosing(
        choice,
        "at_least_once",
        bound=True,
        autoretry_for=(ExecutionInProgress,),
        retry_backoff=False,
        default_retry_delay=0.2,
        max_retries=100,
    )
    for choice in ("retry", "raise")
}


@shared_task
@idempotent_task()
def after(value: dict[str, Any] | None, key: str) -> str:
    """Something behind it in a chain."""
    note = f"after {value and value['attempt']}"
    Effect.objects.create(key=key, note=note)
    return note


@shared_task
@idempotent_task()
def together(values: list[dict[str, Any] | None], key: str) -> str:
    """The body of a chord."""
    note = f"after {[value and value['attempt'] for value in values]}"
    Effect.objects.create(key=key, note=note)
    return note
