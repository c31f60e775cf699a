"""Beat runs every operational task, in a queue that workers take."""

import inspect
import os
import subprocess
import sys
from smtplib import SMTPException
from typing import Any

import pytest
from celery.schedules import crontab
from django.db import OperationalError

import core.settings
from core import tasks
from core.celery import app
from ledger.protection import protecting
from tests.workers import ROOT

ON_DEMAND = {"core.tasks.send_critical_alert", "core.tasks.process_dead_letter"}
SCHEDULE: dict[str, dict[str, Any]] = core.settings.CELERY_BEAT_SCHEDULE


def scheduled() -> dict[str, Any]:
    return {entry["task"]: entry for entry in SCHEDULE.values()}


def test_every_operational_task_is_scheduled_or_asked_for() -> None:
    ours = {getattr(tasks, name).name for name in tasks.__all__}

    assert ours == {name for name in scheduled() if name.startswith("core.")} | ON_DEMAND
    assert len(scheduled()) == len(SCHEDULE)


@pytest.mark.parametrize("name", sorted(scheduled()))
def test_what_is_scheduled_exists_and_takes_what_it_is_given(name: str) -> None:
    app.loader.import_default_modules()
    entry = scheduled()[name]

    inspect.signature(app.tasks[name]).bind(*entry.get("args", ()), **entry.get("kwargs", {}))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("core.tasks.generate_reports", {"hour": {0}, "minute": {20}}),
        ("core.tasks.cleanup_old_logs", {"hour": {3}, "minute": {20}}),
        ("core.tasks.cleanup_expired_tokens", {"hour": {3}, "minute": {40}}),
        ("core.tasks.generate_security_report", {"day_of_week": {1}, "hour": {6}, "minute": {0}}),
        ("core.tasks.cleanup_compromised_token_families", {"minute": {5}}),
        ("core.tasks.monitor_token_security_alerts", {"minute": {10}}),
    ],
)
def test_periodic_tasks_run_once_in_their_period(name: str, fields: dict[str, set[int]]) -> None:
    schedule = scheduled()[name]["schedule"]

    assert isinstance(schedule, crontab)
    found = {field: getattr(schedule, field) for field in ("minute", "hour", "day_of_week")}
    every = {"minute": set(range(60)), "hour": set(range(24)), "day_of_week": set(range(7))}
    assert found == every | fields


RETRIES = {
    "send_critical_alert": 5,
    "cleanup_old_logs": 3,
    "cleanup_expired_tokens": 3,
    "cleanup_compromised_token_families": 3,
    "monitor_token_security_alerts": 3,
    "process_dead_letter": 3,
    "generate_reports": 2,
    "generate_security_report": 2,
}


def test_every_task_under_the_ledger_is_retried_with_a_capped_backoff_and_jitter() -> None:
    ours = [getattr(tasks, name) for name in tasks.__all__]
    retried = [task for task in ours if protecting(task)]

    assert {task.name.removeprefix("core.tasks."): task.max_retries for task in retried} == RETRIES
    for task in retried:
        assert set(task.autoretry_for) >= {OperationalError, OSError, SMTPException}
        assert (task.retry_backoff, task.retry_backoff_max, task.retry_jitter) == (True, 600, True)


@pytest.mark.parametrize("name", sorted(scheduled()))
def test_what_no_worker_takes_expires_before_it_piles_up(name: str) -> None:
    """Another is due by then. But reports are about a period each: none makes up for another."""
    schedule: Any = scheduled()[name]["schedule"]
    expires = scheduled()[name]["options"]["expires"]

    if name in {"core.tasks.generate_reports", "core.tasks.generate_security_report"}:
        assert expires is None
    elif isinstance(schedule, int):
        assert expires == schedule
    else:
        assert expires == (86_400 if len(schedule.hour) == 1 else 3600)


def test_what_the_ledger_itself_needs_is_scheduled() -> None:
    assert {"ledger.tasks.sweep", "ledger.tasks.recover", "ledger.tasks.relay"} <= set(scheduled())


def test_every_queue_that_a_task_goes_to_is_taken_by_a_worker_that_is_told_nothing() -> None:
    """As in docker-compose.yml and `make up`; asked of Celery itself."""
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "from core.celery import app\n"
            "import celery\n"
            "app.loader.import_default_modules()\n"
            "app.amqp.queues.select(None)\n"
            "taken = set(app.amqp.queues.consume_from)\n"
            "for name in app.tasks:\n"
            "    queue = app.amqp.router.route({}, name)['queue']\n"
            "    print(name, queue.name, queue.routing_key, queue.name in taken)\n",
        ],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "core.settings"},
        check=True,
        capture_output=True,
        text=True,
    )
    routes = {name: rest for name, *rest in map(str.split, asked.stdout.splitlines())}

    assert routes["core.tasks.send_critical_alert"] == ["alerts", "alerts", "True"]
    assert routes["core.tasks.generate_reports"] == ["maintenance", "maintenance", "True"]
    for name in ("ledger.tasks.sweep", "ledger.tasks.relay", "payroll.tasks.chase_payments"):
        assert routes[name] == ["maintenance", "maintenance", "True"]
    assert routes["payroll.tasks.process_payroll"] == ["celery", "celery", "True"]
    assert {taken for *_, taken in routes.values()} == {"True"}
