"""What beat publishes for the ledger runs on the same workers, and executions say who ran them."""

from __future__ import annotations

import datetime as dt

from celery import chain
from django.conf import settings
from django.db import connection

from core.celery import app
from ledger.models import TaskExecution
from ledger.tasks import recover, sweep
from tests.ledger.workers.site import Gate, Site, effects, execution, state
from tests.testapp.protected import bound
from tests.workers import empty_broker, wait_until


def test_an_execution_tells_which_worker_process_and_message_ran_it(site: Site, key: str) -> None:
    worker = site.worker()

    result = site.publish(bound, key)
    result.get(timeout=30)

    found = execution(bound, key)
    host, _, pid = found.worker.rpartition("/")
    assert host.startswith(f"{worker.name}@")
    assert int(pid) in worker.children
    assert (found.task_id, found.root_id) == (result.id, result.id)
    assert found.arguments == {"key": key}


def test_a_link_of_a_chain_tells_its_own_message_and_that_of_the_whole(
    site: Site, key: str
) -> None:
    site.worker()

    last = chain(bound.si(f"{key} 1"), bound.si(f"{key} 2")).apply_async()
    last.get(timeout=30)

    first, second = execution(bound, f"{key} 1"), execution(bound, f"{key} 2")
    assert first.task_id == first.root_id == last.parent.id
    assert (second.task_id, second.root_id) == (last.id, last.parent.id)


def test_an_event_tells_which_worker_and_message_it_is_of(site: Site, key: str) -> None:
    worker = site.worker()
    site.publish(bound, key).get(timeout=30)

    duplicate = site.publish(bound, key)
    duplicate.get(timeout=30)

    (skipped,) = execution(bound, key).events.all()
    assert skipped.task_id == duplicate.id != execution(bound, key).task_id
    assert skipped.worker.startswith(f"{worker.name}@")


def test_times_are_those_of_the_run(site: Site, key: str) -> None:
    site.worker()
    site.publish(bound, key, faults=[{"at": "body", "do": "fail"}]).get(propagate=False, timeout=30)
    site.publish(bound, key).get(timeout=30)

    found = execution(bound, key)
    assert found.completed_at
    assert found.expires_at
    assert found.claimed_at < found.started_at < found.completed_at
    assert found.expires_at - found.completed_at == dt.timedelta(hours=24)


def test_recovery_as_a_task_finds_what_died_with_its_message(site: Site, key: str) -> None:
    worker = site.worker()
    site.publish(bound, key, faults=[{"at": "body", "do": "kill_worker"}])
    wait_until(lambda: not worker.alive)
    site.kill_all()
    empty_broker()
    assert state(bound, key) == "running"
    look_older(execution(bound, key), dt.timedelta(minutes=1))
    site.worker()

    reported = recover.apply_async().get(timeout=30)

    assert reported == [execution(bound, key).key]
    assert state(bound, key) == "failed"
    (abandoned,) = execution(bound, key).events.all()
    assert (abandoned.kind, abandoned.actor) == ("abandoned", "ledger.tasks.recover")
    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_recovery_as_a_task_leaves_what_is_alive_or_just_claimed(
    site: Site, key: str, gate: Gate
) -> None:
    site.worker()
    result = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()
    look_older(execution(bound, key), dt.timedelta(minutes=1))

    assert recover.apply_async().get(timeout=30) == []

    gate.open()
    assert result.get(timeout=30)["attempt"] == 1


def test_the_sweep_as_a_task_retires_and_purges(site: Site, key: str) -> None:
    site.worker()
    for name in ("expired", "old", "fresh"):
        site.publish(bound, f"{key} {name}").get(timeout=30)
    expired, old = execution(bound, f"{key} expired"), execution(bound, f"{key} old")
    for one in (expired, old):
        rewrite(one, "expires_at = completed_at")
    sweeps = [sweep.apply_async() for _ in range(4)]
    assert sum(result.get(timeout=30)["retired"] for result in sweeps) == 2
    assert state(bound, f"{key} expired") is None
    assert state(bound, f"{key} fresh") == "completed"
    rewrite(old, "retired_at = retired_at - interval '401 days'")

    assert sweep.apply_async().get(timeout=30) == {"retired": 0, "purged": 1}

    assert not TaskExecution.objects.filter(pk=old.pk).exists()
    assert TaskExecution.objects.filter(pk=expired.pk).exists()
    assert site.publish(bound, f"{key} old").get(timeout=30)["attempt"] == 1


def test_beat_publishes_both() -> None:
    scheduled = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert {sweep.name, recover.name} <= scheduled & set(app.tasks)


def look_older(found: TaskExecution, by: dt.timedelta) -> None:
    TaskExecution.objects.filter(pk=found.pk).update(started_at=found.started_at - by)


def rewrite(found: TaskExecution, change: str) -> None:
    """History is guarded against it, so the guard is lifted for one statement."""
    with connection.cursor() as cursor:
        cursor.execute("set session_replication_role = replica")
        cursor.execute(f"update ledger_taskexecution set {change} where id = {found.pk}")
        cursor.execute("reset session_replication_role")
