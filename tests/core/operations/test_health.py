"""The health check says what is wrong, and tells the admins once."""

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from kombu import Connection

from core import health
from core.celery import app
from core.tasks import health_check, watch_ledger
from ledger import alarms, current_execution, idempotent_once, release
from ledger.execution import Execution
from ledger.models import ExecutionEvent, TaskExecution
from ledger.testing import Clock
from tests.core.operations import rows
from tests.ledger.death import die, dies
from tests.workers import empty_broker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _broker(broker: None) -> None:
    """Asking leaves a queue there, and other tests leave messages in it."""
    empty_broker()


def test_all_is_well(mailoutbox: list[Any]) -> None:
    found = health_check()

    assert found["problems"] == []
    assert found["database"]["reachable"]
    assert found["database"]["seconds"] < 5
    assert found["broker"] == {"reachable": True, "waiting": {settings.TEST_RUN: 0}}
    assert found["ledger"] == {"held": 0, "stuck": 0, "unpublished": 0, "lag": 0.0}
    assert found["dead_letters"] == 0
    assert mailoutbox == []


def test_it_is_asked_anew_each_time(mailoutbox: list[Any]) -> None:
    assert health_check()["dead_letters"] == 0
    rows.dead_letter()
    assert health_check()["dead_letters"] == 1


def test_messages_that_wait_are_counted() -> None:
    for _ in range(3):
        health_check.delay()

    assert health.look()["broker"]["waiting"] == {settings.TEST_RUN: 3}


def test_each_problem_is_told_once_whatever_else_is_wrong(
    mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.dead_letter()
    health_check()
    rows.dead_letter()
    health_check()
    [message] = mailoutbox
    assert message.subject == "[critical] DeadLetters"
    assert message.body.splitlines() == [
        "Messages have failed for good.",
        "What to do: docs/operations.md#deadletters",
    ]

    assert not ExecutionEvent.objects.exists()  # of a duplicate, every minute

    monkeypatch.setattr(app, "connection_for_write", no_broker)
    health_check()
    assert [mail.subject for mail in mailoutbox[1:]] == ["[critical] BrokerUnreachable"]


def test_what_the_ledger_waits_for_is_said_here_and_told_by_who_watches_it(
    mailoutbox: list[Any],
) -> None:
    held()
    assert health_check()["problems"] == ["Executions are held for a person's decision."]
    assert mailoutbox == []


def test_a_ledger_that_does_not_answer_is_told_once_by_both_who_look(
    mailoutbox: list[Any], silent_ledger: None
) -> None:
    found = health_check()
    watch_ledger()
    assert (found["database"]["reachable"], found["ledger"]) == (True, None)
    assert found["problems"] == [alarms.UNREACHABLE.summary]
    assert [mail.subject for mail in mailoutbox] == ["[critical] LedgerUnreachable"]


def no_broker() -> Connection:
    return Connection("redis://127.0.0.1:1", transport_options={"max_retries": 0})


@idempotent_once()
def deadly() -> None:
    die()


def held() -> str:
    """An execution that a person has to decide about; its key."""

    @idempotent_once(guarantee="at_most_once")
    def transfer() -> None:
        raise OSError("in doubt")

    with pytest.raises(OSError, match="in doubt"):
        transfer()
    return TaskExecution.objects.get(state="held").key


def test_held_executions_are_found_until_somebody_decides() -> None:
    key = held()
    assert health.look()["ledger"]["held"] == 1

    release(key, "failed", reason="it did not happen")
    assert health.look()["problems"] == []


def test_what_runs_without_a_worker_is_stuck_and_what_has_one_is_not(
    ledger_clock: Clock,
) -> None:
    found = []

    @idempotent_once(guarantee="at_least_once")
    def endless() -> None:
        ledger_clock.forward(days=1)
        found.append(health.look()["ledger"]["stuck"])

    endless()
    dies(deadly)
    ledger_clock.forward(seconds=6)
    assert [*found, health.look()["ledger"]["stuck"]] == [0, 1]


def test_follow_ups_that_nobody_publishes_are_late(
    ledger_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.outbox.publish", lambda *_: 0)  # as a crash before it

    @idempotent_once()
    def work() -> None:
        execution: Execution = current_execution()
        execution.enqueue(health_check.s())

    work()
    ledger_clock.forward(seconds=119)
    assert health.look()["problems"] == []
    ledger_clock.forward(seconds=2)
    found = health.look()
    assert found["problems"] == ["Follow-ups that are due are not published."]
    assert found["ledger"]["unpublished"] == 1
    assert found["ledger"]["lag"] > 120


def test_a_broker_that_is_down_is_a_problem_that_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch, mailoutbox: list[Any]
) -> None:
    monkeypatch.setattr(app, "connection_for_write", no_broker)

    found = health_check()
    assert found["problems"] == ["The broker cannot be reached."]
    assert "refused" in found["broker"]["error"]
    assert len(mailoutbox) == 1
    assert connection.is_usable()
