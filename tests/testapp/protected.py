"""Tasks under the ledger. Each writes one effect and meets the faults that its message asks for."""

from pathlib import Path
from typing import Any

from celery import Task, current_task, shared_task

from ledger import current_execution, idempotent_daily_task, idempotent_once, idempotent_task
from tests.testapp import faults
from tests.testapp.models import Effect


def act(key: str) -> Any:
    """The body of them all."""
    execution = current_execution()
    Effect.objects.create(key=key, note=f"attempt {execution.attempt}")
    faults.reached("body", execution.attempt)
    request = current_task.request
    return faults.returning(
        {
            "key": key,
            "attempt": execution.attempt,
            "period": execution.period and execution.period.isoformat(),
            "task_id": request.id,
            "retries": request.retries,
            "max_retries": current_task.max_retries,
            "copies": (request.headers or {}).get("ledger_copies", 0),
        },
        execution.attempt,
    )


@shared_task(bind=True)
@idempotent_task()
def bound(self: Task, key: str) -> Any:
    return act(key)


@shared_task
@idempotent_once()
def unbound(key: str) -> Any:
    return act(key)


@shared_task(name="a name of its own")
@idempotent_task()
def named(key: str) -> Any:
    return act(key)


@shared_task(bind=True, ignore_result=True)
@idempotent_task()
def silent(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_task(skip_on_duplicate=False)
def strict(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_daily_task()
def daily(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_task(period="hour")
def hourly(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True, autoretry_for=(faults.Flaky,), default_retry_delay=0, max_retries=2)
@idempotent_daily_task()
def daily_retried(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True, autoretry_for=(faults.Flaky,), default_retry_delay=0, max_retries=2)
@idempotent_task()
def retried(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True, max_retries=2)
@idempotent_task()
def retrying_itself(self: Task, key: str) -> Any:
    try:
        return act(key)
    except faults.Flaky as error:
        raise self.retry(exc=error, countdown=0) from error


@shared_task(bind=True)
@idempotent_task(max_crashes=1)
def deadly(self: Task, key: str) -> Any:
    return act(key)


@shared_task(bind=True)
@idempotent_task(on_in_progress="raise")
def impatient(self: Task, key: str) -> Any:
    return act(key)


@shared_task
@idempotent_task(on_ledger_error="run")
def urgent(path: str) -> str:
    """Its effect is a line in a file."""
    with Path(path).open("a") as outbox:
        outbox.write("sent\n")
    return "sent"


@shared_task(bind=True)
@idempotent_task()
def add(self: Task, x: int, y: int, key: str) -> int:
    Effect.objects.create(key=key, note=f"{x} + {y}")
    faults.reached("body", current_execution().attempt)
    return x + y


@shared_task
@idempotent_task()
def total(numbers: list[int], key: str) -> int:
    Effect.objects.create(key=key, note=f"sum of {numbers}")
    return sum(numbers)


@shared_task
@idempotent_daily_task()
def daily_total(answers: list[dict[str, Any]], key: str) -> int:
    Effect.objects.create(key=key, note=f"total of {len(answers)}")
    return len(answers)
