from __future__ import annotations

from celery import Task, shared_task
from django.db import Error

from ledger import alarms, non_idempotent

from .alerts import send_critical_alert


@shared_task(bind=True, name="core.tasks.watch_ledger")
@non_idempotent("looks at the ledger; the alerts that it asks for are under the ledger")
def watch_ledger(self: Task, before: alarms.Look | None = None) -> list[str]:
    """Watch what Prometheus' alert rules watch, see `ledger.alarms`, and tell of it: once in 24
    hours for each alarm and task, while it lasts.

    Looks twice, `alarms.WINDOW` seconds apart: beat asks for the first look, that one sends the
    second. Returns the names of the alarms raised. A ledger that does not answer is told of at
    once, from here, since its own tasks do not run.
    """
    try:
        now = alarms.look()
    except Error:
        send_critical_alert(*alert_of(alarms.UNREACHABLE))
        return [alarms.UNREACHABLE.name]
    if before is None:
        self.apply_async(kwargs={"before": now}, countdown=alarms.WINDOW)
        return []
    raised = alarms.raised(before, now)
    for alarm, task in raised:
        send_critical_alert.delay(*alert_of(alarm, task))
    return [alarm.name for alarm, _ in raised]


def alert_of(alarm: alarms.Alarm, task: str = "") -> tuple[str, str]:
    """Type and message, with nothing in it that changes while it lasts: the same words are sent
    once a day."""
    of_task = f"Task: {task}\n" if task else ""
    return alarm.name, f"{alarm.summary}\n{of_task}What to do: {alarm.runbook}"
