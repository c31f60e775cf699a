"""``on_ledger_error="run"``: what must go out although the database is down is recorded later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import connection

from ledger import (
    LedgerUnavailable,
    UnstorableResult,
    afterwards,
    current_execution,
    idempotent_task,
    make_idempotency_key,
)
from ledger.models import ExecutionEvent, TaskExecution
from tests.ledger.guarantees.proxy import Proxy, proxied
from tests.ledger.marks import commits
from tests.workers import wait_until

pytestmark = [
    commits,
    pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"]),
]

Sessions = Callable[[], psycopg.Connection]


@pytest.fixture
def straight(session: Sessions) -> psycopg.Connection:
    """A session that needs no proxy."""
    return session()


@pytest.fixture
def proxy(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(afterwards, "PAUSE", 0.05)
    with proxied() as proxy:
        yield proxy
        proxy.up()
        wait_until(lambda: afterwards._thread is None, what="the end of the late records")


class Alert:
    def __init__(self, guarantee: str, **options: Any) -> None:
        self.sent: list[int] = []

        @idempotent_task(guarantee=guarantee, on_ledger_error="run", **options)
        def alert(number: int) -> str:
            self.sent.append(current_execution().attempt)
            return f"sent {number}"

        self.task = alert
        self.key = make_idempotency_key(f"{alert.__module__}.{alert.__qualname__}", [7])


def recorded(key: str) -> list[tuple[str, int]]:
    found = ExecutionEvent.objects.filter(execution__key=key, kind="unprotected")
    return list(found.values_list("kind", "attempt"))


def test_it_runs_and_is_recorded_when_the_database_is_back(
    guarantee: str, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    alert = Alert(guarantee)
    proxy.down()

    with caplog.at_level(logging.WARNING, "ledger"):
        assert alert.task(7) == "sent 7"
        refused = proxy.refused
        wait_until(lambda: proxy.refused > refused + 1, what="two tries")
        proxy.up()
        wait_until(lambda: "is now recorded" in caplog.text)

    assert alert.sent == [0]
    (unprotected,) = (r for r in caplog.records if r.levelno == logging.CRITICAL)
    assert unprotected.ledger_outcome == "unprotected"  # type: ignore[attr-defined]
    row = TaskExecution.objects.get()
    assert (row.key, row.state, row.attempt, row.result) == (alert.key, "completed", 1, "sent 7")
    assert recorded(alert.key) == [("unprotected", 1)]
    assert alert.task(7) == "sent 7"
    assert alert.sent == [0]


def test_twice_while_it_is_down_is_once_in_one_process(guarantee: str, proxy: Proxy) -> None:
    """Another process knows nothing of it."""
    alert = Alert(guarantee)
    proxy.down()
    assert [alert.task(7), alert.task(7), alert.task(8)] == ["sent 7", "sent 7", "sent 8"]
    assert alert.sent == [0, 0]
    proxy.up()

    wait_until(partial(recorded_are, 2))
    assert len(recorded(alert.key)) == 1


def test_while_it_is_down_a_run_is_remembered_for_its_ttl(guarantee: str, proxy: Proxy) -> None:
    alert = Alert(guarantee, ttl_hours=1e-9)
    proxy.down()
    alert.task(7)
    alert.task(7)
    proxy.up()

    wait_until(lambda: len(recorded(alert.key)) == 2)
    assert alert.sent == [0, 0]


def test_of_many_that_end_at_once_none_is_forgotten(guarantee: str, proxy: Proxy) -> None:
    """Each may be remembered in the very moment in which the last record was written."""
    alert = Alert(guarantee)
    numbers = iter(range(1000))
    for expected in range(8, 48, 8):
        connection.close()
        proxy.down()
        at_once_without_database(8, lambda: alert.task(next(numbers)))
        proxy.up()
        wait_until(partial(recorded_are, expected))


def test_what_another_worker_runs_meanwhile_is_left_to_it(
    guarantee: str, straight: psycopg.Connection, proxy: Proxy
) -> None:
    alert, server = Alert(guarantee), straight
    alert.task(7)
    server.execute("update ledger_taskexecution set retired_at = now(), retired_reason = 'cleared'")
    proxy.down()
    alert.task(7)
    server.execute(
        "select ledger_claim(key, task_name, args_hash, '{}', null, guarantee, 'other', 'root',"
        " 'w', 3, false) from ledger_taskexecution"
    )
    proxy.up()

    wait_until(lambda: recorded(alert.key))
    live = TaskExecution.objects.get(retired_at=None)
    assert (live.state, live.attempt, live.task_id) == ("running", 1, "other")


def test_what_fails_unprotected_is_not_recorded_as_done(guarantee: str, proxy: Proxy) -> None:
    @idempotent_task(guarantee=guarantee, on_ledger_error="run")
    def alert() -> None:
        raise ValueError("no mail server either")

    proxy.down()
    with pytest.raises(ValueError, match="no mail server"):
        alert()
    proxy.up()
    assert not TaskExecution.objects.exists()


def test_a_result_that_cannot_be_stored_is_said(guarantee: str, proxy: Proxy) -> None:
    @idempotent_task(guarantee=guarantee, on_ledger_error="run")
    def alert() -> object:
        return object()

    proxy.down()
    with pytest.raises(UnstorableResult, match="It ran unprotected"):
        alert()
    proxy.up()


def test_steps_run_unprotected_too(guarantee: str, proxy: Proxy) -> None:
    @idempotent_task(guarantee="at_least_once", on_ledger_error="run")
    def alert() -> list[object]:
        execution = current_execution()
        first = execution.step("one", lambda: "sent")
        return [first, sorted(execution.steps_done), execution.id]

    proxy.down()
    assert alert() == ["sent", [], None]
    proxy.up()
    wait_until(lambda: TaskExecution.objects.filter(state="completed").exists())


def test_without_it_nothing_runs_unprotected(guarantee: str, proxy: Proxy) -> None:
    runs = []

    @idempotent_task(guarantee=guarantee)
    def task() -> None:
        runs.append(1)

    proxy.down()
    with pytest.raises(LedgerUnavailable, match=r"idempotent:.*'default' could not be reached"):
        task()
    assert runs == []
    proxy.up()


def recorded_are(count: int) -> bool:
    return TaskExecution.objects.filter(state="completed").count() == count


def at_once_without_database(count: int, function: Callable[[], object]) -> None:
    threads = [threading.Thread(target=function) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
