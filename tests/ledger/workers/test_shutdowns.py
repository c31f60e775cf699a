"""A worker that is asked to end, or ends its processes itself, leaves nothing undone."""

from __future__ import annotations

import signal

from tests.ledger.workers.site import QUICK, Gate, Site, effects, events
from tests.testapp.protected import bound
from tests.workers import wait_until


def test_a_warm_shutdown_finishes_what_it_is_at(each_site: Site, key: str, gate: Gate) -> None:
    each_site.kill_all()
    worker = each_site.start()
    each_site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for_log("Warm shutdown")
    gate.open()

    assert worker.process.wait(30) == 0
    assert effects(key) == ["attempt 1"]
    assert events(bound, key) == []


def test_a_cold_shutdown_gives_back_what_it_was_at(each_site: Site, key: str, gate: Gate) -> None:
    each_site.kill_all()
    worker = each_site.start()
    result = each_site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(30)
    gate.open()
    each_site.start(visibility_timeout=1)

    assert result.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_a_body_that_runs_out_of_memory_may_run_again(site: Site, key: str) -> None:
    """Celery ends the whole worker for it."""
    site.kill_all()
    worker = site.start()
    site.publish(bound, key, faults=[{"at": "body", "do": "run_out_of_memory"}])
    wait_until(lambda: not worker.alive, what="the end of the worker")
    assert effects(key) == []
    site.start(visibility_timeout=1)

    assert site.publish(bound, key).get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]
    assert events(bound, key)[0] == ("failed", 1)


def test_a_pool_process_replaced_for_its_memory_has_done_its_work(site: Site, key: str) -> None:
    """Any process takes more than a megabyte, so each is replaced after its first task."""
    site.kill_all()
    limit = ("--max-memory-per-child", "1000", *QUICK)
    worker = site.workers.start(environment=site.environment, options=limit)
    [first] = worker.children

    results = [site.publish(bound, key) for _ in range(2)]

    assert [result.get(timeout=30)["attempt"] for result in results] == [1, 1]
    wait_until(lambda: first not in worker.children, what="another process")
    assert effects(key) == ["attempt 1"]
    assert events(bound, key) == [("skipped", 1)]
