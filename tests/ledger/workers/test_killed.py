"""A worker that dies, wherever it dies, neither loses the work nor does it twice."""

from __future__ import annotations

import pytest
from celery import Task
from celery.result import AsyncResult
from django.conf import settings

from tests.ledger.workers.site import Gate, Site, effects, events, execution, state
from tests.testapp.protected import bound, silent
from tests.workers import Worker, wait_until

# A pool process is killed less often on RabbitMQ, where a worker takes five seconds to notice.
DEATHS = [
    *[("site", point, "kill_child") for point in ("started", "body", "result")],
    *[("site", point, "kill_worker") for point in ("started", "body", "result")],
    *[("rabbitmq", point, "kill_worker") for point in ("started", "body", "result")],
    ("rabbitmq", "body", "kill_child"),
]


@pytest.mark.parametrize(("each_site", "point", "death"), DEATHS, indirect=["each_site"])
def test_a_worker_killed_before_the_commit_is_taken_over(
    each_site: Site, key: str, point: str, death: str
) -> None:
    result = deliver_and_die(each_site, bound, key, point, death)

    assert result.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]
    found = execution(bound, key)
    assert (found.state, found.attempt, found.crashes) == ("completed", 2, 0)
    assert events(bound, key) == [("abandoned", 1), ("taken_over", 2)]


@pytest.mark.parametrize(
    ("each_site", "task", "death"),
    [
        ("site", bound, "kill_child"),
        ("site", silent, "kill_child"),
        ("site", bound, "kill_worker"),
        ("site", silent, "kill_worker"),
        ("rabbitmq", bound, "kill_worker"),
        ("rabbitmq", bound, "kill_child"),
    ],
    indirect=["each_site"],
)
def test_a_worker_killed_after_the_commit_replays_its_result(
    each_site: Site, key: str, task: Task, death: str
) -> None:
    result = deliver_and_die(each_site, task, key, "completed", death)

    wait_until(lambda: events(task, key), what="the second delivery")
    assert events(task, key) == [("skipped", 1)]
    assert effects(key) == ["attempt 1"]
    if task is bound:
        assert result.get(timeout=30) == execution(task, key).result
        assert result.get()["attempt"] == 1


@pytest.mark.parametrize("task", [bound, silent], ids=["with result", "ignoring result"])
def test_a_worker_killed_before_the_ack_is_answered_when_it_is_delivered_again(
    each_site: Site, key: str, task: Task
) -> None:
    deliver_and_die(each_site, task, key, "stored", "kill_worker")

    wait_until(lambda: events(task, key), what="the second delivery")
    assert events(task, key) == [("skipped", 1)]
    assert effects(key) == ["attempt 1"]


def test_a_pool_process_killed_before_the_ack_is_answered_when_it_is_delivered_again(
    site: Site, key: str
) -> None:
    """Without a stored result; where there is one, Celery itself acknowledges the message."""
    deliver_and_die(site, silent, key, "stored", "kill_child")

    wait_until(lambda: events(silent, key), what="the second delivery")
    assert events(silent, key) == [("skipped", 1)]
    assert effects(key) == ["attempt 1"]


def test_the_main_process_killed_alone_leaves_one_effect(site: Site, key: str, gate: Gate) -> None:
    """Its pool outlives it for a moment and may finish; the message comes back all the same."""
    worker = living_worker(site)
    site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    worker.kill_main()
    living_worker(site)
    gate.open()

    wait_until(lambda: state(bound, key) == "completed" and events(bound, key))
    assert len(effects(key)) == 1


def test_a_pool_of_threads_killed_in_the_body_is_taken_over(site: Site, key: str) -> None:
    site.kill_all()
    site.start(pool="threads", visibility_timeout=1)

    result = deliver_and_die(site, bound, key, "body", "kill_worker")

    assert result.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_what_died_with_its_worker_tells_who_it_was(site: Site, key: str) -> None:
    first = living_worker(site)
    result = deliver_and_die(site, bound, key, "body", "kill_worker")
    result.get(timeout=30)

    found = execution(bound, key)
    abandoned, taken_over = found.events.order_by("id")
    assert abandoned.worker.startswith(f"{first.name}@")
    assert abandoned.reason == "its worker is gone"
    assert taken_over.worker == found.worker
    assert found.worker.startswith(f"{living_worker(site).name}@")
    assert abandoned.task_id == taken_over.task_id == found.task_id == result.id


def test_a_copy_that_was_put_back_outlives_the_worker_that_holds_it(
    each_site: Site, key: str, gate: Gate
) -> None:
    """It holds two messages: the one whose body runs, and the one that is not yet due."""
    worker = living_worker(each_site)
    first = each_site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()
    duplicate = each_site.publish(bound, key)
    worker.wait_for_log(f"[{duplicate.id}] retry")
    worker.kill()
    gate.open()
    living_worker(each_site)

    assert duplicate.get(timeout=30) == first.get(timeout=30)
    assert effects(key) == ["attempt 2"]
    assert state(bound, key) == "completed"


@pytest.mark.skipif(
    not settings.CELERY_BROKER_URL.startswith("redis"),
    reason="only Redis and Valkey deliver again what takes longer than a visibility timeout",
)
def test_a_body_that_outlasts_the_visibility_timeout_runs_once(
    site: Site, key: str, gate: Gate
) -> None:
    worker = living_worker(site)
    result = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()
    worker.wait_for_log(f"[{result.id}] retry")
    gate.open()

    wait_until(lambda: events(bound, key))
    assert set(events(bound, key)) == {("skipped", 1)}
    assert effects(key) == ["attempt 1"]


def living_worker(site: Site) -> Worker:
    """One that soon delivers again what a killed one held."""
    return site.worker(visibility_timeout=1)


def deliver_and_die(site: Site, task: Task, key: str, point: str, death: str) -> AsyncResult:
    """Publish a message whose first delivery dies at that point, and see to a living worker."""
    worker = living_worker(site)
    result = site.publish(task, key, faults=[{"at": point, "do": death}])
    if death == "kill_worker":
        wait_until(lambda: not worker.alive, what=f"the death of {worker.name}")
        worker.kill()
        living_worker(site)
    return result
