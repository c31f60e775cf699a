"""However a task is declared, called and pooled, its messages and calls share one ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from celery import Task

from core.celery import app
from ledger import check_idempotency_status, make_idempotency_key
from tests.ledger.workers.site import Gate, Site, effects, events, execution, state
from tests.testapp.protected import bound, named, silent, unbound
from tests.workers import wait_until

STYLES = pytest.mark.parametrize(
    "task", [bound, unbound, named], ids=["bound", "unbound", "named explicitly"]
)


@STYLES
def test_a_message_and_its_duplicate_have_one_effect(site: Site, key: str, task: Task) -> None:
    site.worker()

    first, second = site.publish(task, key), site.publish(task, key)

    assert first.get(timeout=30) == second.get(timeout=30)
    assert effects(key) == ["attempt 1"]
    assert execution(task, key).task_name == task.name


def test_the_two_names_are_what_they_should_be() -> None:
    assert bound.name == "tests.testapp.protected.bound"
    assert named.name == "a name of its own"


def test_positional_named_and_default_arguments_are_one_call(site: Site, key: str) -> None:
    site.worker()

    results = [bound.apply_async((key,)), bound.apply_async(kwargs={"key": key}), bound.delay(key)]

    assert len({result.get(timeout=30)["task_id"] for result in results}) == 1
    assert effects(key) == ["attempt 1"]


@STYLES
def test_a_direct_call_is_answered_with_what_a_worker_did(site: Site, key: str, task: Task) -> None:
    site.worker()
    result = site.publish(task, key).get(timeout=30)

    assert task(key) == result
    assert task.apply((key,)).get() == result
    assert effects(key) == ["attempt 1"]
    assert events(task, key) == [("skipped", 1)] * 2


@STYLES
def test_a_message_is_answered_with_what_a_direct_call_did(
    site: Site, key: str, task: Task
) -> None:
    site.worker()

    called = task.apply((key,)).get()

    assert site.publish(task, key).get(timeout=30) == called
    assert effects(key) == ["attempt 1"]
    assert events(task, key) == [("skipped", 1)]


@pytest.fixture
def always_eager() -> Iterator[None]:
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


def test_an_always_eager_call_runs_here_and_once(key: str, always_eager: None) -> None:
    first, second = bound.delay(key).get(), bound.delay(key).get()

    assert first == second
    assert effects(key) == ["attempt 1"]
    assert events(bound, key) == [("skipped", 1)]
    assert execution(bound, key).worker.endswith(f"/{os.getpid()}")


def test_a_task_that_ignores_its_result_is_recorded_and_its_duplicates_are_skipped(
    site: Site, key: str
) -> None:
    site.worker()

    for _ in range(3):
        site.publish(silent, key)

    wait_until(lambda: len(events(silent, key)) == 2)
    assert effects(key) == ["attempt 1"]
    assert execution(silent, key).result["attempt"] == 1


def test_the_status_is_told_by_any_process(site: Site, key: str, gate: Gate) -> None:
    site.worker()
    assert check_idempotency_status(bound.name, [key])["state"] is None

    result = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()
    status = check_idempotency_status(bound.name, [key])
    assert (status["executed"], status["state"], status["attempt"]) == (False, "running", 1)

    gate.open()
    answer = result.get(timeout=30)
    status = check_idempotency_status(bound.name, kwargs={"key": key})
    assert (status["executed"], status["state"], status["result"]) == (True, "completed", answer)
    assert status["key"] == make_idempotency_key(bound.name, [key])


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_another_pool_keeps_the_same_promises(site: Site, key: str, pool: str, gate: Gate) -> None:
    site.kill_all()
    worker = site.start(4, pool=pool)
    try:
        failing = [{"at": "body", "do": "fail"}]
        assert site.publish(bound, f"{key} failing", faults=failing).get(
            propagate=False, timeout=30
        ).args == ("not this time",)
        assert site.publish(bound, f"{key} failing").get(timeout=30)["attempt"] == 2

        losing = [{"at": "body", "do": "lose_connection"}]
        assert site.publish(bound, f"{key} losing", faults=losing).get(timeout=30)["attempt"] == 2

        results = [site.publish(bound, key) for _ in range(12)]
        assert len({result.get(timeout=30)["task_id"] for result in results}) == 1
        assert effects(key) == ["attempt 1"]
    finally:
        worker.kill()


def test_threads_of_one_process_do_not_run_one_key_at_once(
    site: Site, key: str, gate: Gate
) -> None:
    site.kill_all()
    worker = site.start(4, pool="threads")
    try:
        results = [site.publish(bound, key, faults=[gate.fault()]) for _ in range(4)]
        gate.wait_until_reached()
        wait_until(lambda: worker.log.count("in progress elsewhere") >= 3)
        assert len(list(gate.folder.iterdir())) == 1
        other = site.publish(bound, f"{key} other")
        assert other.get(timeout=30)["attempt"] == 1
        assert state(bound, key) == "running"
        gate.open()

        assert len({result.get(timeout=30)["task_id"] for result in results}) == 1
        assert effects(key) == ["attempt 1"]
    finally:
        worker.kill()
