"""A lost connection or a restarted database is no failure: one message is enough, and one effect.

Each message here is published once. There is no duplicate to save it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from django.conf import settings
from django.db import connection
from kombu import Exchange, Queue

from core.embedded import LOCAL
from tests.ledger.workers.own_database import OwnDatabase
from tests.ledger.workers.site import Gate, Site, effects, events, execution
from tests.testapp.protected import bound, urgent
from tests.workers import Worker, wait_until


@pytest.fixture(scope="module")
def own() -> Iterator[OwnDatabase]:
    """A server that may be stopped. Not under tmp_path, which only its owner may enter."""
    folder = LOCAL / "own-servers" / uuid4().hex[:8]
    database = OwnDatabase(folder)
    yield database
    database.server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def worker(site: Site, own: OwnDatabase) -> Iterator[Worker]:
    """A worker on the database that may be stopped."""
    own.server.start()
    site.kill_all()
    worker = site.start(environment=own.environment)
    yield worker
    worker.kill()


@pytest.mark.parametrize("deed", ["lose_connection", "lose_connection_quietly"])
def test_a_connection_lost_in_the_body_is_no_failure(each_site: Site, key: str, deed: str) -> None:
    each_site.worker()
    result = each_site.publish(bound, key, faults=[{"at": "body", "do": deed}])

    answer = result.get(timeout=30)
    assert (answer["attempt"], answer["retries"]) == (2, 0)
    assert effects(key) == ["attempt 2"]
    assert events(bound, key) == [("abandoned", 1), ("taken_over", 2)]
    assert execution(bound, key).crashes == 0


def test_a_connection_lost_after_the_body_is_no_failure(site: Site, key: str) -> None:
    site.worker()
    result = site.publish(bound, key, faults=[{"at": "result", "do": "lose_connection_quietly"}])

    assert result.get(timeout=30)["attempt"] == 2
    assert effects(key) == ["attempt 2"]


def test_a_connection_lost_while_idle_costs_nothing(site: Site, key: str) -> None:
    site.kill_all()
    worker = site.start()
    site.publish(bound, f"{key} first").get(timeout=30)
    with connection.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and application_name = %s",
            [settings.TEST_RUN],
        )
        assert (True,) in cursor.fetchall()

    answer = site.publish(bound, key).get(timeout=30)

    assert (answer["attempt"], answer["copies"]) == (1, 0)
    assert events(bound, key) == []
    assert "cannot be reached" not in worker.log


def test_a_message_in_its_body_outlives_a_restart_of_the_database(
    worker: Worker, site: Site, own: OwnDatabase, key: str, gate: Gate
) -> None:
    result = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    own.server.stop()
    gate.open()
    wait_until_put_back(worker, result)
    own.server.start()

    assert result.get(timeout=30)["attempt"] == 2
    assert own.effects(key) == ["attempt 2"]
    assert own.events(key) == [("abandoned", 1), ("taken_over", 2)]


def test_a_message_about_to_be_claimed_outlives_a_restart_of_the_database(
    worker: Worker, site: Site, own: OwnDatabase, key: str
) -> None:
    site.publish(bound, f"{key} first").get(timeout=30)  # the worker is connected

    own.server.stop()
    result = site.publish(bound, key)
    wait_until_put_back(worker, result)
    own.server.start()

    answer = result.get(timeout=30)
    assert (answer["attempt"], answer["retries"]) == (1, 0)
    assert answer["copies"] >= 1
    assert own.effects(key) == ["attempt 1"]
    assert own.events(key) == []


def test_a_worker_started_while_the_database_is_down_waits_for_it(
    site: Site, own: OwnDatabase, key: str
) -> None:
    own.server.stop()
    site.kill_all()
    worker = site.start(environment=own.environment)
    try:
        result = site.publish(bound, key)
        wait_until_put_back(worker, result)
        own.server.start()

        assert result.get(timeout=30)["attempt"] == 1
    finally:
        worker.kill()
    assert own.effects(key) == ["attempt 1"]


def test_a_database_restarted_while_a_worker_is_idle_costs_nothing(
    worker: Worker, site: Site, own: OwnDatabase, key: str
) -> None:
    site.publish(bound, f"{key} first").get(timeout=30)

    own.server.stop()
    own.server.start()
    answer = site.publish(bound, key).get(timeout=30)

    assert (answer["attempt"], answer["copies"]) == (1, 0)
    assert own.effects(key) == ["attempt 1"]


def test_a_body_ended_by_a_crash_of_the_database_has_one_effect(
    worker: Worker, site: Site, own: OwnDatabase, key: str, gate: Gate
) -> None:
    """A SIGKILLed server may forget the claim, which is committed asynchronously, too."""
    result = site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    own.crash()
    gate.open()
    wait_until_put_back(worker, result)
    own.server.start()

    answer = result.get(timeout=30)
    assert own.effects(key) == [f"attempt {answer['attempt']}"]
    assert answer["copies"] >= 1


def test_a_commit_whose_answer_is_lost_is_found_and_not_repeated(
    worker: Worker, site: Site, own: OwnDatabase, key: str
) -> None:
    """A commit that waits for a standby is done already when its session is ended."""
    own.set("synchronous_standby_names", "nobody")
    try:
        result = site.publish(bound, key)
        wait_until(lambda: own.end_sessions("wait_event = 'SyncRep'"), what="the commit")
        wait_until_put_back(worker, result)
    finally:
        own.set("synchronous_standby_names", "")

    assert result.get(timeout=30)["attempt"] == 1
    assert own.effects(key) == ["attempt 1"]
    assert own.events(key) == [("skipped", 1)]


def test_a_message_whose_copy_the_broker_refuses_goes_back_and_is_not_lost(
    rabbitmq: Site, key: str, gate: Gate
) -> None:
    """The queue holds one message and refuses further ones; the body's own is not in it."""
    name = f"{settings.TEST_RUN}-full"
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    exchange = Exchange(name, auto_delete=True)
    queue = Queue(name, exchange, routing_key=name, expires=3600, queue_arguments=arguments)
    worker = rabbitmq.start(
        environment={"TEST_RUN": name, "TEST_QUEUE_ARGUMENTS": json.dumps(arguments)}
    )
    try:
        result = rabbitmq.publish(
            bound, key, faults=[gate.fault(), {"at": "body", "do": "lose_connection"}], queue=queue
        )
        gate.wait_until_reached()
        rabbitmq.publish(bound, f"{key} filler", queue=queue)
        gate.open()

        wait_until(lambda: effects(f"{key} filler") == ["attempt 1"], what="the filler")
        wait_until(lambda: effects(key) == ["attempt 2"], what="the message that went back")
        worker.wait_for_log(f"[{result.id}] reject")
    finally:
        worker.kill()
        rabbitmq.forget_queue(name)


def test_an_urgent_task_runs_without_its_database_and_is_recorded_when_it_is_back(
    worker: Worker, site: Site, own: OwnDatabase, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    own.server.stop()

    assert site.publish(urgent, str(outbox)).get(timeout=30) == "sent"

    assert "CRITICAL" in worker.log
    assert "RUNS UNPROTECTED" in worker.log
    own.server.start()
    worker.wait_for_log("its unprotected run is now recorded")
    assert site.publish(urgent, str(outbox)).get(timeout=30) == "sent"
    assert outbox.read_text() == "sent\n"


def wait_until_put_back(worker: Worker, result: AsyncResult) -> None:
    worker.wait_for_log(f"[{result.id}] retry")
