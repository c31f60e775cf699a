"""One delivery claims; whoever comes meanwhile, or in the same moment, does not run the body."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connection, transaction

from ledger import (
    ExecutionHeld,
    ExecutionInProgress,
    current_execution,
    idempotent_task,
    protocol,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.gate import Gate
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, at_once, wait_for
from tests.testapp.models import Effect

pytestmark = commits

DELIVERIES = 8
ROUNDS = 25


@idempotent_task()
def pay(employee: int) -> int:
    return Effect.objects.create(key=str(employee)).pk


def pay_ignoring(employee: int, thread: int) -> int:
    return pay(employee)


class Slow:
    """A task that stands still in its body until it is let go."""

    def __init__(self) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()

        @idempotent_task()
        def slow(employee: int) -> str:
            Effect.objects.create(key=str(employee))
            self.inside.set()
            wait_for(self.go_on)
            return "paid"

        self.task = slow


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_of_many_deliveries_at_once_exactly_one_runs_the_body() -> None:
    """Again and again, for every round is a race of its own.

    Who comes while the body runs is told that it is in progress; who comes later is answered. And
    nobody takes a living worker for a dead one: between its claim's commit and its lock it looks
    dead for some 0.1 ms, and is looked at again after ``SECOND_LOOK``. Only a machine that stalls
    that long just there could record a take-over that never was (safe, but a false story), hence
    the bound: one such story, of two events, in all these rounds.
    """
    for number in range(ROUNDS):
        outcomes = at_once(DELIVERIES, partial(pay_ignoring, number))
        (effect,) = Effect.objects.filter(key=str(number))
        for outcome in outcomes:
            assert outcome == effect.pk or isinstance(outcome, ExecutionInProgress)
        assert pay(number) == effect.pk

    assert set(TaskExecution.objects.values_list("state", flat=True)) == {State.COMPLETED}
    assert ExecutionEvent.objects.exclude(kind="skipped").count() <= 2


def test_many_keys_at_once_all_run() -> None:
    outcomes = at_once(DELIVERIES, lambda i: [pay(100 * i + n) for n in range(10)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert Effect.objects.count() == TaskExecution.objects.count() == 10 * DELIVERIES
    assert not ExecutionEvent.objects.exists()


def test_a_duplicate_of_a_running_execution_is_told_that_it_is_in_progress(slow: Slow) -> None:
    with Elsewhere() as elsewhere:
        running = elsewhere.call(slow.task, 7)
        wait_for(slow.inside)
        try:
            with pytest.raises(ExecutionInProgress, match=r"idempotent:.*slow:.*Try again"):
                slow.task(7)
        finally:
            slow.go_on.set()
        assert running.result(PATIENCE) == "paid"

    assert slow.task(7) == "paid"
    assert Effect.objects.count() == 1
    assert TaskExecution.objects.get().attempt == 1


def test_a_claim_is_visible_to_all_at_once_and_the_effects_only_when_committed(slow: Slow) -> None:
    with Elsewhere() as elsewhere:
        running = elsewhere.call(slow.task, 7)
        wait_for(slow.inside)
        try:
            assert TaskExecution.objects.get().state == State.RUNNING
            assert not Effect.objects.exists()
        finally:
            slow.go_on.set()
        running.result(PATIENCE)
    assert TaskExecution.objects.get().state == State.COMPLETED
    assert Effect.objects.count() == 1


def test_another_key_is_not_kept_waiting(slow: Slow) -> None:
    with Elsewhere() as elsewhere:
        running = elsewhere.call(slow.task, 7)
        wait_for(slow.inside)
        try:
            assert isinstance(pay(7), int)
        finally:
            slow.go_on.set()
        running.result(PATIENCE)


def test_a_body_that_only_waits_does_not_hold_back_vacuum(
    session: Callable[[], psycopg.Connection],
) -> None:
    inside, go_on, pids = threading.Event(), threading.Event(), []

    @idempotent_task()
    def calls_a_slow_provider() -> None:
        pids.append(connection.connection.info.backend_pid)
        inside.set()
        wait_for(go_on)

    with Elsewhere() as elsewhere:
        running = elsewhere.call(calls_a_slow_provider)
        wait_for(inside)
        try:
            horizon = session().execute(
                "select state, backend_xid, backend_xmin from pg_stat_activity where pid = %s", pids
            )
            assert horizon.fetchone() == ("idle in transaction", None, None)
        finally:
            go_on.set()
        running.result(PATIENCE)


def test_a_delivery_never_waits_for_a_claim_that_another_transaction_has_not_committed() -> None:
    joined, go_on = threading.Event(), threading.Event()

    def within_a_transaction_that_stays_open() -> int:
        with transaction.atomic():
            paid = pay(7)
            joined.set()
            wait_for(go_on)
            return paid

    with connection.cursor() as cursor:
        cursor.execute("set lock_timeout = '2s'")  # a wait would end as another error
    with Elsewhere() as elsewhere:
        open_one = elsewhere.call(within_a_transaction_that_stays_open)
        wait_for(joined)
        try:
            with pytest.raises(ExecutionInProgress):
                pay(7)
        finally:
            go_on.set()
        paid = open_one.result(PATIENCE)

    assert pay(7) == paid
    assert Effect.objects.count() == 1
    connection.close()


def test_a_delivery_that_gets_the_lock_of_a_run_just_completed_answers_from_it(slow: Slow) -> None:
    """It asked for the lock before the run completed, and got it afterwards: what it reads must be
    what was committed before it had the lock, not what it saw when it asked."""
    with Gate.at_lock(2) as gate, Elsewhere() as elsewhere:
        running = elsewhere.call(slow.task, 7)
        wait_for(slow.inside)
        late = elsewhere.call(gate.late(lambda: slow.task(7)))
        gate.wait_for_it()
        slow.go_on.set()
        assert running.result(PATIENCE) == "paid"
        gate.open()
        assert late.result(PATIENCE) == "paid"

    assert Effect.objects.count() == 1
    assert list(ExecutionEvent.objects.values_list("kind", flat=True)) == ["skipped"]


def test_a_claim_that_was_taken_over_before_its_run_began_answers_from_the_other_run() -> None:
    """A worker that stalls between its claim and its lock looks dead, and is taken over. When it
    goes on, it must not run the body with the lock it then gets: its claim is the live one no more.
    """
    bodies: list[str] = []

    @idempotent_task()
    def task() -> str:
        bodies.append(threading.current_thread().name)
        Effect.objects.create(key="once")
        return "done"

    with Gate.at_lock(2) as gate, Elsewhere() as elsewhere:
        late = elsewhere.call(gate.late(task))
        gate.wait_for_it()
        assert task() == "done"
        gate.open()
        assert late.result(PATIENCE) == "done"

    assert bodies == [threading.current_thread().name]
    assert Effect.objects.count() == 1
    events = ExecutionEvent.objects.order_by("id").values_list("kind", flat=True)
    assert list(events) == ["abandoned", "taken_over", "skipped"]


def test_a_claim_that_was_taken_over_by_one_who_died_too_is_a_claim_no_more(
    session: Callable[[], psycopg.Connection],
) -> None:
    """The lock is free and the row says running, but it is another attempt that runs: to run and
    complete that one would be to trust a claim that nobody gave."""

    @idempotent_task()
    def task() -> int:
        return current_execution().attempt

    with Gate.at_lock(2) as gate, Elsewhere() as elsewhere:
        late = elsewhere.call(gate.late(task))
        gate.wait_for_it()
        taken = session().execute(
            "select ledger_take_over(key, id, attempt, 3, '', '', 'dies now')"
            " from ledger_taskexecution"
        )
        assert taken.fetchone() == ([TaskExecution.objects.get().id, 2],)
        gate.open()
        assert late.result(PATIENCE) == 3

    events = ExecutionEvent.objects.order_by("id").values_list("kind", "attempt")
    assert list(events) == [
        ("abandoned", 1),
        ("taken_over", 2),
        ("abandoned", 2),
        ("taken_over", 3),
    ]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_most_once"])
def test_a_claim_is_not_recognised_in_the_first_attempt_of_a_new_execution_of_its_key(
    guarantee: str, session: Callable[[], psycopg.Connection]
) -> None:
    """Cleared between its claim and its lock, and claimed anew by one who may have done the work
    before it died: the same key, running, attempt 1, and yet not the execution it claimed."""
    bodies: list[str] = []

    @idempotent_task(guarantee=guarantee)
    def task() -> int:
        bodies.append("ran")
        return current_execution().attempt

    with Gate.at_lock(2) as gate, Elsewhere() as elsewhere:
        late = elsewhere.call(gate.late(task))
        gate.wait_for_it()
        session().execute("select ledger_retire(key, '', 'again') from ledger_taskexecution")
        session().execute(
            "select ledger_claim(key, task_name, args_hash, '{}', null, guarantee, 'id', 'root',"
            " 'dies now', 3, false) from ledger_taskexecution"
        )
        gate.open()
        if guarantee == "at_most_once":
            with pytest.raises(ExecutionHeld):
                late.result(PATIENCE)
            assert bodies == []
        else:
            assert late.result(PATIENCE) == 2

    new = TaskExecution.objects.get(retired_at=None)
    kinds = new.events.order_by("id").values_list("kind", flat=True)
    assert list(kinds)[:1] == ["abandoned"]


def test_a_worker_that_looks_dead_is_looked_at_again_before_it_is_taken_over(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its claim's commit and its lock; here it needs the time between the two looks."""
    with Gate.at_lock(2) as gate, Elsewhere() as elsewhere:
        late = elsewhere.call(gate.late(lambda: slow.task(7)))
        gate.wait_for_it()

        def meanwhile(seconds: float) -> None:
            assert seconds == protocol.SECOND_LOOK
            gate.open()
            wait_for(slow.inside)

        monkeypatch.setattr(protocol, "time", SimpleNamespace(sleep=meanwhile))
        with pytest.raises(ExecutionInProgress):
            slow.task(7)
        monkeypatch.undo()
        slow.go_on.set()
        assert late.result(PATIENCE) == "paid"

    assert TaskExecution.objects.get().attempt == 1
    assert not ExecutionEvent.objects.exists()


def test_a_look_at_a_claim_does_not_lose_it(session: Callable[[], psycopg.Connection]) -> None:
    """Another delivery that looks whether a claim's worker is alive holds the lock for a moment,
    just when the worker wants it: the worker tries again."""

    @idempotent_task()
    def task() -> str:
        return "done"

    with Gate.at_lock(2) as gate, Elsewhere() as elsewhere:
        late = elsewhere.call(gate.late(task))
        gate.wait_for_it()
        looking = session()
        looking.autocommit = False
        key = TaskExecution.objects.get().key
        looked = looking.execute("select pg_try_advisory_xact_lock(ledger_lock_id(%s))", [key])
        assert looked.fetchone() == (True,)
        gate.open()
        gate.wait_until_refused()
        looking.rollback()
        assert late.result(PATIENCE) == "done"

    assert TaskExecution.objects.get().attempt == 1
    assert not ExecutionEvent.objects.exists()
