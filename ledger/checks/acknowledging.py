from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error, Warning

from .registered import AnyTask, protected


def check_acknowledging(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """A message is kept until its work is done, and given back when it is not: the ledger cannot
    answer, or take over for, a delivery that never comes."""
    tasks = [task for task, _ in protected()]
    found: list[CheckMessage] = []
    if early := [task for task in tasks if not task.acks_late]:
        found.append(
            Error(
                "Acknowledged before they run, so that nobody runs them when their worker dies: "
                f"{_names(early)}.",
                hint="Set CELERY_TASK_ACKS_LATE = True, and remove acks_late=False from tasks.",
                id="ledger.E005",
            )
        )
    if lost := [task for task in tasks if task.acks_late and not _given_back(task)]:
        found.append(
            Error(
                "Acknowledged when a process of the worker's pool is killed, so that nobody runs "
                f"them again: {_names(lost)}.",
                hint="Set CELERY_TASK_REJECT_ON_WORKER_LOST = True, and remove "
                "reject_on_worker_lost=False from tasks.",
                id="ledger.E006",
            )
        )
    if timed_out := [task for task in tasks if task.acks_late and _lost_at_its_limit(task)]:
        found.append(
            Warning(
                "Acknowledged when they are killed at their time limit, so that nobody runs them "
                f"again: {_names(timed_out)}.",
                hint="Set CELERY_TASK_ACKS_ON_TIMEOUT = False, or acks_on_timeout=False on tasks "
                "(Celery 5.7): the next delivery takes over, until max_crashes holds it. A task "
                "that is not under the ledger is then tried for ever.",
                id="ledger.W002",
            )
        )
    return found


def _given_back(task: AnyTask) -> bool:
    return bool(task.reject_on_worker_lost or getattr(task, "retry_on_worker_lost", False))


def _lost_at_its_limit(task: AnyTask) -> bool:
    limit = task.time_limit or current_app.conf.task_time_limit
    return bool(limit and getattr(task, "acks_on_timeout", task.acks_on_failure_or_timeout))


def _names(tasks: Sequence[AnyTask]) -> str:
    return ", ".join(task.name for task in tasks)
