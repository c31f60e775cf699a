"""A worker that dies lets go of its lock, and the next delivery takes over; but not for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from ledger import (
    ExecutionHeld,
    ExecutionInProgress,
    LedgerUnavailable,
    check_idempotency_status,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from ledger.sweep import recover
from tests.ledger.conftest import Clock
from tests.ledger.death import die, dies
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, at_once, wait_for
from tests.testapp.models import Effect

pytestmark = commits


class Frail:
    """A task whose worker dies of it, so many times; it writes before it dies."""

    def __init__(self, deaths: int, **options: Any) -> None:
        self.deaths = deaths
        self.attempts: list[int] = []

        @idempotent_task(**options)
        def frail(employee: int) -> str:
            self.attempts.append(current_execution().attempt)
            Effect.objects.create(key=str(employee), note=str(current_execution().attempt))
            if len(self.attempts) <= self.deaths:
                die()
            return "paid"

        self.task = frail
        self.employee = 7
        self.name = f"{frail.__module__}.{frail.__qualname__}"

    def deliver(self, thread: int) -> str:
        return self.task(self.employee)


def kinds() -> list[str]:
    return list(ExecutionEvent.objects.order_by("id").values_list("kind", flat=True))


def test_the_next_delivery_takes_over_from_a_worker_that_died_in_the_body() -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    assert not Effect.objects.exists()
    assert TaskExecution.objects.get().state == State.RUNNING

    assert frail.task(7) == "paid"

    assert frail.attempts == [1, 2]
    assert list(Effect.objects.values_list("note", flat=True)) == ["2"]
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.crashes) == (State.COMPLETED, 2, 0)
    assert list(ExecutionEvent.objects.order_by("id").values_list("kind", "attempt")) == [
        ("abandoned", 1),
        ("taken_over", 2),
    ]


def test_a_session_ended_by_the_server_in_the_middle_of_a_body_is_taken_over(
    session: Callable[[], psycopg.Connection],
) -> None:
    inside, go_on, pids = threading.Event(), threading.Event(), []

    @idempotent_task()
    def task() -> str:
        Effect.objects.create(key="written", note=str(current_execution().attempt))
        if current_execution().attempt == 1:
            pids.append(connection.connection.info.backend_pid)
            inside.set()
            wait_for(go_on)
            Effect.objects.create(key="written after the end")
        return "done"

    with Elsewhere() as elsewhere:
        first = elsewhere.call(task)
        wait_for(inside)
        server = session()
        server.execute("select pg_terminate_backend(%s, 5000)", pids)
        assert task() == "done"
        go_on.set()
        with pytest.raises(LedgerUnavailable, match="Nothing is lost"):
            first.result(PATIENCE)

    assert list(Effect.objects.values_list("key", "note")) == [("written", "2")]


def test_a_worker_that_died_between_its_claim_and_its_run_is_taken_over(
    session: Callable[[], psycopg.Connection],
) -> None:
    frail = Frail(deaths=0)
    frail.task(1)
    known = TaskExecution.objects.get()
    key = known.key.replace(known.args_hash, "0" * 64)

    claimed = session().execute(
        "select ledger_claim(%s, %s, %s, '{}', null, 'exactly_once', 'id', 'root', 'w', 3, false)",
        [key, known.task_name, "0" * 64],
    )
    row = TaskExecution.objects.get(key=key)
    assert claimed.fetchone() == ([row.id, 1],)

    assert recover() == []  # too young: a living worker would be between its claim and its lock
    taken = session().execute(
        "select ledger_take_over(%s, id, 1, 3, '', '', 'other') from ledger_taskexecution"
        " where key = %s",
        [key, key],
    )
    assert taken.fetchone() == ([row.id, 2],)
    row.refresh_from_db()
    assert (row.state, row.attempt, row.crashes, row.worker) == (State.RUNNING, 2, 1, "other")


def test_nobody_takes_over_from_a_worker_that_lives(
    session: Callable[[], psycopg.Connection],
) -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    alive = session()
    alive.autocommit = False
    alive.execute(
        "select pg_advisory_xact_lock(ledger_lock_id(%s))", [TaskExecution.objects.get().key]
    )

    with pytest.raises(ExecutionInProgress):
        frail.task(7)
    assert TaskExecution.objects.get().attempt == 1

    alive.rollback()
    assert frail.task(7) == "paid"
    assert TaskExecution.objects.get().attempt == 2


def test_of_many_that_find_a_dead_worker_exactly_one_takes_over() -> None:
    for number in range(10):
        frail = Frail(deaths=1)
        frail.employee = number
        dies(frail.task, number)

        outcomes = at_once(6, frail.deliver)

        assert len(frail.attempts) == 2
        for outcome in outcomes:
            assert outcome == "paid" or isinstance(outcome, ExecutionInProgress)
        assert frail.task(number) == "paid"
    assert Effect.objects.count() == 10
    # One more where a living worker stalled between its claim and its lock: see test_claims.
    assert 10 <= kinds().count("taken_over") <= 11


class TestHolding:
    def test_a_task_that_keeps_killing_its_workers_is_held(self) -> None:
        """``max_crashes`` workers in a row may die of it and are followed by another attempt."""
        frail = Frail(deaths=99, max_crashes=2)
        for _ in range(3):
            dies(frail.task, 7)

        for _ in range(2):
            with pytest.raises(
                ExecutionHeld, match=r"idempotent:.*held.*3 in a row.*ledger release"
            ):
                frail.task(7)

        assert frail.attempts == [1, 2, 3]
        assert not Effect.objects.exists()
        row = TaskExecution.objects.get()
        assert (row.state, row.attempt, row.crashes) == (State.HELD, 3, 3)
        assert kinds() == ["abandoned", "taken_over"] * 2 + ["abandoned", "held"]
        assert check_idempotency_status(frail.name, [7])["state"] == "held"
        assert check_idempotency_status(frail.name, [7])["executed"] is False

    def test_what_is_held_runs_again_when_a_person_clears_it(self) -> None:
        frail = Frail(deaths=2, max_crashes=1)
        for _ in range(2):
            dies(frail.task, 7)
        with pytest.raises(ExecutionHeld):
            frail.task(7)

        assert clear_idempotency_key(frail.name, [7], reason="more memory", actor="ana")

        assert frail.task(7) == "paid"
        assert frail.attempts == [1, 2, 1]
        assert check_idempotency_status(frail.name, [7])["attempt"] == 1

    def test_crashes_found_by_recovery_count_too(self, clock: Clock) -> None:
        frail = Frail(deaths=99, max_crashes=1)
        for _ in range(2):
            dies(frail.task, 7)
            clock.forward(minutes=1)
            assert len(recover()) == 1
        with pytest.raises(ExecutionHeld):
            frail.task(7)
        assert frail.attempts == [1, 2]

    def test_only_crashes_in_a_row_count(self) -> None:
        calls: list[str] = []

        @idempotent_task(max_crashes=1)
        def moody() -> str:
            calls.append(["die", "raise", "die", "raise", "die", "return"][len(calls)])
            if calls[-1] == "die":
                die()
            if calls[-1] == "raise":
                raise ValueError("alive enough to say so")
            return "done"

        for _ in range(2):
            dies(moody)
            with pytest.raises(ValueError, match="alive enough"):
                moody()
        dies(moody)
        assert moody() == "done"
        assert TaskExecution.objects.get().attempt == 6


def test_a_transaction_takes_over_and_commits_or_vanishes_with_its_caller() -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)

    with transaction.atomic():
        assert frail.task(7) == "paid"
        transaction.set_rollback(True)
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, kinds()) == (State.RUNNING, 1, [])

    with transaction.atomic():
        assert frail.task(7) == "paid"
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt) == (State.COMPLETED, 2)
    assert kinds() == ["abandoned", "taken_over"]
