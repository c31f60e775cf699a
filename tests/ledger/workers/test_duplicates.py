"""However often a message is published or delivered: one effect, and an answer for everybody."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ledger import DuplicateExecution, ExecutionInProgress
from ledger.testing import Clock
from tests.ledger.workers.site import Gate, Site, effects, events, execution
from tests.testapp.protected import bound, impatient, strict
from tests.workers import wait_until


def test_every_publisher_of_the_same_call_gets_the_one_result(each_site: Site, key: str) -> None:
    each_site.worker()

    results = [each_site.publish(bound, key) for _ in range(8)]

    answers = [result.get(timeout=30) for result in results]
    assert answers == [answers[0]] * 8
    assert effects(key) == ["attempt 1"]
    assert events(bound, key) == [("skipped", 1)] * 7


def test_fifty_deliveries_of_one_message_at_once_have_one_effect(
    site: Site, key: str, gate: Gate
) -> None:
    task_id = uuid4().hex
    site.kill_all()
    worker = site.start(concurrency=50, pool="threads")
    try:
        for _ in range(50):
            site.publish(bound, key, faults=[gate.fault()], task_id=task_id)
        gate.wait_until_reached()
        wait_until(lambda: worker.log.count("in progress elsewhere") >= 49, what="49 put back")
        assert effects(key) == []
        gate.open()

        wait_until(lambda: len(events(bound, key)) == 49, what="49 answers")
    finally:
        worker.kill()
    assert events(bound, key) == [("skipped", 1)] * 49
    assert effects(key) == ["attempt 1"]


def test_a_duplicate_of_a_running_one_waits_and_is_answered(
    each_site: Site, key: str, gate: Gate
) -> None:
    worker = each_site.worker()
    first = each_site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()
    duplicate = each_site.publish(bound, key)
    worker.wait_for_log(f"[{duplicate.id}] retry")
    gate.open()

    assert duplicate.get(timeout=30) == first.get(timeout=30)
    assert effects(key) == ["attempt 1"]
    assert set(events(bound, key)) == {("skipped", 1)}


def test_a_clock_set_forward_and_back_changes_no_answer(
    site: Site, key: str, gate: Gate, ledger_clock: Clock
) -> None:
    worker = site.worker()
    first = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()
    duplicates = []
    for hours in (2, -4):
        ledger_clock.forward(hours=hours)
        duplicates.append(site.publish(bound, key))
        worker.wait_for_log(f"[{duplicates[-1].id}] retry")
    gate.open()

    answers = [result.get(timeout=30) for result in (first, *duplicates)]
    assert answers == [answers[0]] * 3
    assert effects(key) == ["attempt 1"]
    assert events(bound, key) == [("skipped", 1)] * 2


def test_a_duplicate_of_one_that_fails_runs_with_the_users_retries_untouched(
    each_site: Site, key: str, gate: Gate
) -> None:
    worker = each_site.worker()
    first = each_site.publish(bound, key, faults=[gate.fault(), {"at": "body", "do": "fail"}])
    gate.wait_until_reached()
    duplicate = each_site.publish(bound, key, retries=1)
    worker.wait_for_log(f"[{duplicate.id}] retry")
    gate.open()

    answer = duplicate.get(timeout=30)
    assert answer["attempt"] == 2
    assert answer["task_id"] == duplicate.id
    assert answer["copies"] >= 1
    assert (answer["retries"], answer["max_retries"]) == (1, bound.max_retries)
    assert first.get(propagate=False).args == ("not this time",)
    assert effects(key) == ["attempt 2"]
    assert events(bound, key) == [("failed", 1)]


def test_a_duplicate_of_one_that_dies_takes_over(site: Site, key: str, gate: Gate) -> None:
    """Its message comes back too, and is then the one that is answered or put back."""
    worker = site.worker()
    site.publish(bound, key, faults=[gate.fault(), {"at": "body", "do": "kill_child"}])
    gate.wait_until_reached()
    duplicate = site.publish(bound, key)
    worker.wait_for_log(f"[{duplicate.id}] retry")
    gate.open()

    assert duplicate.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]
    wait_until(lambda: ("skipped", 2) in events(bound, key))
    assert events(bound, key)[:2] == [("abandoned", 1), ("taken_over", 2)]


def test_a_duplicate_in_strict_mode_fails_and_is_not_retried(site: Site, key: str) -> None:
    worker = site.worker()
    first = site.publish(strict, key).get(timeout=30)

    duplicate = site.publish(strict, key)
    with pytest.raises(DuplicateExecution, match="already executed") as refusal:
        duplicate.get(timeout=30)

    assert duplicate.state == "FAILURE"
    assert refusal.value.key == execution(strict, key).key
    assert refusal.value.result == first
    assert effects(key) == ["attempt 1"]
    assert events(strict, key) == [("skipped", 1)]
    assert f"[{duplicate.id}] retry" not in worker.log


def test_a_duplicate_that_must_not_wait_fails_while_the_first_goes_on(
    site: Site, key: str, gate: Gate
) -> None:
    site.worker()
    first = site.publish(impatient, key, faults=[gate.fault()])
    gate.wait_until_reached()

    with pytest.raises(ExecutionInProgress, match="being executed by another worker"):
        site.publish(impatient, key).get(timeout=30)

    gate.open()
    assert first.get(timeout=30)["attempt"] == 1
    assert events(impatient, key) == []
