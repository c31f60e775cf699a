"""A failure is recorded and never cached: what retries it, Celery or a person, runs it again."""

from __future__ import annotations

import pytest
from celery import Task

from tests.ledger.workers.site import Site, effects, events, execution
from tests.testapp.faults import Flaky
from tests.testapp.protected import bound, retried, retrying_itself

RETRIED = pytest.mark.parametrize(
    "task", [retried, retrying_itself], ids=["autoretry", "self.retry"]
)


@RETRIED
def test_what_fails_twice_and_then_succeeds_has_one_effect(
    each_site: Site, key: str, task: Task
) -> None:
    each_site.worker()

    result = each_site.publish(task, key, faults=[{"at": "body", "do": "fail", "attempts": [1, 2]}])

    answer = result.get(timeout=30)
    assert (answer["attempt"], answer["retries"]) == (3, 2)
    assert effects(key) == ["attempt 3"]
    assert events(task, key) == [("failed", 1), ("failed", 2)]
    found = execution(task, key)
    assert (found.state, found.attempt, found.crashes, found.error) == ("completed", 3, 0, "")


@RETRIED
def test_what_always_fails_stops_after_the_users_max_retries(
    site: Site, key: str, task: Task
) -> None:
    site.worker()

    result = site.publish(
        task, key, faults=[{"at": "body", "do": "fail", "attempts": [1, 2, 3, 4]}]
    )

    with pytest.raises(Flaky, match="not this time"):
        result.get(timeout=30)
    assert effects(key) == []
    assert events(task, key) == [("failed", 1), ("failed", 2), ("failed", 3)]
    assert execution(task, key).state == "failed"


@pytest.mark.parametrize("deed", ["fail", "exceed_the_statement_timeout", "find_the_disk_full"])
def test_what_failed_for_good_runs_when_it_is_published_again(
    site: Site, key: str, deed: str
) -> None:
    site.worker()
    failed = site.publish(bound, key, faults=[{"at": "body", "do": deed}])
    failed.get(timeout=30, propagate=False)
    assert failed.state == "FAILURE"
    assert events(bound, key) == [("failed", 1)]

    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_a_failure_tells_what_was_raised_and_where(site: Site, key: str) -> None:
    worker = site.worker()
    result = site.publish(bound, key, faults=[{"at": "body", "do": "fail"}])
    with pytest.raises(Flaky):
        result.get(timeout=30)

    found = execution(bound, key)
    (event,) = found.events.all()
    assert found.error == event.reason == "Flaky('not this time')"
    assert "in act" in event.traceback
    assert "faults.reached" in event.traceback
    assert event.task_id == result.id
    assert event.worker.startswith(f"{worker.name}@")


def test_a_failure_after_the_body_rolls_its_effect_back(site: Site, key: str) -> None:
    site.worker()
    result = site.publish(bound, key, faults=[{"at": "result", "do": "fail"}])
    with pytest.raises(Flaky):
        result.get(timeout=30)

    assert effects(key) == []
    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]
