"""A task that takes its worker down again and again is held, and not delivered for ever."""

from __future__ import annotations

import pytest

from ledger import ExecutionHeld, clear_idempotency_key
from tests.ledger.workers.site import Site, effects, events, execution
from tests.testapp.protected import deadly
from tests.workers import wait_until

EVERY_TIME = list(range(1, 20))


def test_a_task_that_kills_every_worker_is_held_after_its_max_crashes(site: Site, key: str) -> None:
    """``deadly`` has ``max_crashes=1``: one crash is forgiven, the second is not."""
    site.worker()
    deaths = [{"at": "body", "do": "kill_child", "attempts": EVERY_TIME}]

    with pytest.raises(ExecutionHeld, match="too many of its workers died"):
        site.publish(deadly, key, faults=deaths).get(timeout=60)

    found = execution(deadly, key)
    assert (found.state, found.attempt, found.crashes) == ("held", 2, 2)
    assert effects(key) == []
    assert events(deadly, key) == [
        ("abandoned", 1),
        ("taken_over", 2),
        ("abandoned", 2),
        ("held", 2),
    ]
    with pytest.raises(ExecutionHeld, match="ledger"):
        site.publish(deadly, key).get(timeout=30)

    assert clear_idempotency_key(deadly.name, [key], reason="it is repaired", actor="the test")
    assert site.publish(deadly, key).get(timeout=30)["attempt"] == 1
    assert effects(key) == ["attempt 1"]


def test_a_task_that_exits_once_runs_again(site: Site, key: str) -> None:
    site.worker()
    result = site.publish(deadly, key, faults=[{"at": "body", "do": "leave"}])

    assert result.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]
    assert events(deadly, key) == [("failed", 1)]


def test_a_task_that_exits_every_time_is_held_after_its_max_crashes(site: Site, key: str) -> None:
    """Leaving by SystemExit ends a pool process, and Celery delivers the message again."""
    site.worker()
    exits = [{"at": "body", "do": "leave", "attempts": EVERY_TIME}]

    with pytest.raises(ExecutionHeld):
        site.publish(deadly, key, faults=exits).get(timeout=30)

    assert execution(deadly, key).state == "held"
    assert [kind for kind, _ in events(deadly, key)] == ["failed", "failed", "held"]


def test_crashes_are_forgiven_when_it_completes(site: Site, key: str) -> None:
    site.worker()
    deaths = [{"at": "body", "do": "kill_child"}]

    assert site.publish(deadly, key, faults=deaths).get(timeout=30)["attempt"] == 2

    wait_until(lambda: execution(deadly, key).state == "completed")
    assert execution(deadly, key).crashes == 0
