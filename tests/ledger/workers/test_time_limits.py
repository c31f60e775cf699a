"""A body that is stopped from outside leaves nothing behind, and a story of why."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from ledger.sweep import recover
from tests.ledger.workers.site import Gate, Site, effects, events, execution, state
from tests.testapp.protected import bound
from tests.workers import Worker, wait_until

HARD: dict[str, Any] = {"time_limit": 1, "soft_time_limit": 0}
"""Celery starts a hard limit's clock when the soft limit has passed, if there is one."""


@pytest.fixture(scope="module", autouse=True)
def worker(site: Site) -> Worker:
    """It acknowledges what it kills, as Celery does by default."""
    limits = {"CELERY_TASK_SOFT_TIME_LIMIT": "0", "CELERY_TASK_ACKS_ON_TIMEOUT": "True"}
    return site.start(2, environment=limits)


def test_a_soft_time_limit_is_a_failure_and_it_may_run_again(
    site: Site, key: str, gate: Gate
) -> None:
    result = site.publish(bound, key, faults=[gate.fault()], soft_time_limit=1)

    with pytest.raises(SoftTimeLimitExceeded):
        result.get(timeout=30)

    assert events(bound, key) == [("failed", 1)]
    assert execution(bound, key).error.startswith("SoftTimeLimitExceeded")
    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_a_hard_time_limit_is_found_by_recovery_and_it_may_run_again(
    site: Site, key: str, worker: Worker
) -> None:
    """Celery acknowledges its message: no delivery will ever take over."""
    result = site.publish(bound, key, faults=[{"at": "body", "do": "hang"}], **HARD)

    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=30)

    found = execution(bound, key)
    assert (found.state, found.attempt) == ("running", 1)
    recovered = wait_until(lambda: recover(actor="the test", grace=dt.timedelta(0)))
    assert recovered == [found.key]
    assert events(bound, key) == [("abandoned", 1)]
    (abandoned,) = found.events.all()
    assert (abandoned.actor, abandoned.reason) == ("the test", "its worker is gone")
    assert abandoned.worker.startswith(f"{worker.name}@")
    assert state(bound, key) == "failed"
    assert effects(key) == []
    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_a_body_that_obeys_a_hard_time_limit_has_no_effect_and_may_run_again(
    site: Site, key: str, gate: Gate
) -> None:
    """Asked by SIGTERM, it has a tenth of a second to record its failure before SIGKILL comes; and
    a recovery without grace may look between its rollback and that."""
    result = site.publish(bound, key, faults=[gate.fault()], **HARD)

    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=30)

    wait_until(lambda: recover(grace=dt.timedelta(0)) or state(bound, key) == "failed")
    assert {("failed", 1), ("abandoned", 1)} >= set(events(bound, key)) > set()
    assert effects(key) == []
    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_recovery_leaves_a_body_that_runs_alone(site: Site, key: str, gate: Gate) -> None:
    result = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    assert recover(grace=dt.timedelta(0)) == []

    gate.open()
    assert result.get(timeout=30)["attempt"] == 1
    assert events(bound, key) == []
