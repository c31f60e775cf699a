"""Running a task once for each of many employees, here or on the workers, through the ledger."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from celery import Task
from kombu.exceptions import OperationalError

from ledger import LedgerError, check_idempotency_status
from ledger.models import State, TaskExecution
from payroll.bulk import step_name, steps_done
from payroll.errors import PayrollError, PayrollIncomplete
from payroll.models import Employee

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2

Status = Literal["done", "unchanged", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Call:
    """A task to run for an employee."""

    employee: Employee
    task: Task
    args: tuple[Any, ...]

    def known(self) -> dict[str, Any]:
        """What the ledger knows of it: see ledger.check_idempotency_status."""
        return check_idempotency_status(self.task.name, self.args)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: `detail` is why it was skipped or failed, `result` is the task's."""

    employee: Employee
    status: Status
    detail: str = ""
    result: dict[str, Any] = field(default_factory=dict)


def finished(call: Call, result: dict[str, Any]) -> Outcome:
    return Outcome(call.employee, "done" if result["payslip_id"] else "unchanged", result=result)


def skipped(call: Call, known: dict[str, Any]) -> Outcome:
    return Outcome(
        call.employee,
        "skipped",
        f"the ledger has it as done on {known['completed_at']:%Y-%m-%d %H:%M %Z}",
        known["result"],
    )


def in_process(calls: Sequence[Call]) -> Iterator[Outcome]:
    """Run the calls one after the other. One that fails does not keep the next from running."""
    for call in calls:
        known = call.known()
        if known["executed"]:
            yield skipped(call, known)
            continue
        try:
            yield finished(call, call.task(*call.args))
        except (PayrollError, LedgerError) as error:
            yield Outcome(call.employee, "failed", str(error))
        except Exception as error:
            logger.exception("%s failed", call.employee)
            yield Outcome(call.employee, "failed", f"{type(error).__name__}: {error}")


def in_bulk(task: Task, args: tuple[Any, ...], calls: Sequence[Call]) -> Iterator[Outcome]:
    """Run the bulk task with these arguments in this process, going on where an earlier run of it
    ended, then report each of the calls that it makes as its steps have it."""
    before = check_idempotency_status(task.name, args)
    if before["executed"]:
        yield from (skipped(call, before | {"result": {}}) for call in calls)
        return
    failures: Mapping[int, str] = {}
    try:
        task(*args)
    except PayrollIncomplete as error:
        failures = error.failures
    except LedgerError as error:
        failures = dict.fromkeys((call.employee.pk for call in calls), str(error))
    except Exception as error:
        logger.exception("%s ended", task.name)
        reason = f"{type(error).__name__}: {error}"
        failures = dict.fromkeys((call.employee.pk for call in calls), reason)
    done = dict(steps_done(before["key"]).values_list("name", "result"))
    for call in calls:
        if result := done.get(step_name(call.employee.pk)):
            yield finished(call, result)
        else:
            yield Outcome(call.employee, "failed", failures[call.employee.pk])


def on_workers(calls: Sequence[Call], patience: float) -> Iterator[Outcome]:
    """Publish the calls, then report each as the ledger has it finished.

    Gives up when nothing has moved for `patience` seconds. What was published stays in the queue
    and runs once when a worker comes, however often it is published again.
    """
    waiting: dict[str, tuple[Call, int]] = {}
    for call in calls:
        known = call.known()
        if known["executed"]:
            yield skipped(call, known)
            continue
        try:
            call.task.delay(*call.args)
        except OperationalError as error:
            yield Outcome(call.employee, "failed", f"The broker cannot be reached: {error}")
            continue
        waiting[known["key"]] = call, known["attempt"] or 0

    moved = time.monotonic()
    seen: dict[str, tuple[str, int]] = {}
    while waiting:
        states = {
            key: (state, attempt)
            for key, state, attempt in TaskExecution.objects.filter(
                key__in=waiting, retired_at=None
            ).values_list("key", "state", "attempt")
        }
        for key, (state, attempt) in states.items():
            outcome = _outcome(*waiting[key], state, attempt)
            if outcome:
                del waiting[key]
                yield outcome
        if states != seen:
            seen, moved = states, time.monotonic()
        elif time.monotonic() - moved > patience:
            for call, _ in waiting.values():
                yield Outcome(call.employee, "failed", _no_answer(patience))
            return
        time.sleep(POLL_SECONDS)


def _outcome(call: Call, attempts_before: int, state: str, attempt: int) -> Outcome | None:
    """What the ledger's row says of a call that was published; None while it is not finished."""
    if state == State.HELD:
        return Outcome(call.employee, "failed", "The ledger holds it for a person to decide.")
    if state == State.FAILED and attempt > attempts_before:
        return Outcome(call.employee, "failed", call.known()["error"])
    if state == State.COMPLETED:
        known = call.known()  # an expired row is not an answer yet
        return finished(call, known["result"]) if known["executed"] else None
    return None


def _no_answer(patience: float) -> str:
    return (
        f"No worker answered for {patience:g} s. Start one with 'celery -A core worker', or use"
        " --no-parallel. The message stays in the queue, and repeating the command is safe."
    )
