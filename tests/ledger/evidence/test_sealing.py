"""What sweeps seal: everything once, whatever order it commits in, and nothing too early."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import psycopg
import pytest
from django.db import connection, transaction

from ledger import idempotent_task, store
from ledger.evidence import sealing
from ledger.evidence.models import Seal, UnsealedExecution
from ledger.models import ExecutionEvent, State, TaskExecution
from ledger.sweep import sweep
from tests.ledger.conftest import Clock
from tests.ledger.evidence.conftest import broken, pay
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, at_once

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]
CLAIM = "select ledger_claim('key', 'task', '', '{}', null, 'exactly_once', '', '', '', 3, false)"


def seal(batch: int) -> int:
    return sealing.seal(connection, store.settled(connection, dt.timedelta(seconds=20)), batch)


def sealed(kind: str = "execution") -> list[int]:
    """Ids, in the order in which they were sealed."""
    links = Seal.objects.filter(kind=kind, act="sealed").order_by("id")
    return [id for link in links for id in link.ids]


def test_it_seals_in_batches_and_everything_once() -> None:
    for employee in range(7):
        pay(employee)
        pay(employee)
    assert seal(3) == 14
    assert seal(3) == 0
    assert sealed() == sorted(TaskExecution.objects.values_list("id", flat=True))
    assert sealed("event") == sorted(ExecutionEvent.objects.values_list("id", flat=True))
    assert [len(link.ids) for link in Seal.objects.filter(kind="execution").order_by("id")] == [
        3,
        3,
        1,
    ]
    assert broken() == []


def test_an_execution_that_ends_later_is_sealed_later(clock: Clock) -> None:
    outcome = ["no"]

    @idempotent_task()
    def flaky() -> None:
        if outcome:
            raise ValueError(outcome.pop())

    with pytest.raises(ValueError, match="no"):
        flaky()
    pay(1)
    sweep()
    failed = TaskExecution.objects.get(state=State.FAILED)
    assert failed.pk not in sealed()
    assert UnsealedExecution.objects.get().execution_id == failed.pk

    flaky()
    sweep()
    assert sealed()[-1] == failed.pk
    assert not UnsealedExecution.objects.exists()
    assert broken() == []


def test_one_that_never_completes_is_sealed_when_it_is_retired(clock: Clock) -> None:
    with pytest.raises(ValueError, match="nobody"):
        pay(-1)
    sweep()
    assert sealed() == []
    clock.forward(hours=25)
    sweep()
    assert sealed() == [TaskExecution.objects.get().pk]
    assert broken() == []


def test_an_id_that_was_drawn_earlier_and_commits_later_is_not_missed(
    session: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.sweep.PATIENCE", dt.timedelta(milliseconds=50))
    slow = session()
    slow.execute("begin")
    slow.execute(CLAIM)
    slow.execute("select ledger_complete(max(id), 1, '1', null) from ledger_taskexecution")
    pay(1)
    assert TaskExecution.objects.count() == 1
    sweep()
    assert sealed() == [], "a row with a lower id may still appear"
    assert broken() == []

    slow.execute("commit")
    sweep()
    assert sealed() == sorted(TaskExecution.objects.values_list("id", flat=True))
    assert len(sealed()) == 2
    assert broken() == []


def test_it_waits_a_moment_for_whoever_is_writing(session: Sessions) -> None:
    slow = session()
    slow.execute("begin")
    slow.execute(CLAIM)
    pay(1)
    with Elsewhere() as elsewhere:
        sweeping = elsewhere.call(sweep)
        while not _is_waiting(session()):
            assert not sweeping.done()
        slow.execute("commit")
        sweeping.result(PATIENCE)
    assert sealed() == [TaskExecution.objects.get(state=State.COMPLETED).pk]


def _is_waiting(session: psycopg.Connection) -> bool:
    waiting = session.execute(
        "select from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    )
    return waiting.fetchone() is not None


def test_a_rolled_back_id_leaves_a_gap_that_is_none(session: Sessions) -> None:
    slow = session()
    slow.execute("begin")
    slow.execute(CLAIM)
    slow.execute("rollback")
    pay(1)
    sweep()
    assert len(sealed()) == 1
    assert broken() == []


def test_a_reader_or_a_writer_of_other_tables_is_not_waited_for(session: Sessions) -> None:
    other = session()
    other.execute("begin")
    other.execute("insert into testapp_effect (key, note, at) values ('', '', now())")
    other.execute("select count(*) from ledger_taskexecution")
    pay(1)
    sweep()
    assert len(sealed()) == 1


def test_the_sweeps_own_transaction_is_not_waited_for() -> None:
    with transaction.atomic():
        pay(1)
        sweep()
        assert len(sealed()) == 1
        transaction.set_rollback(True)
    assert sealed() == []
    assert broken() == []


def test_one_sweep_seals_at_a_time_and_none_waits(session: Sessions) -> None:
    other = session()
    other.execute("begin")
    other.execute("select pg_advisory_xact_lock(ledger_chain_lock_id())")
    pay(1)
    assert seal(10) == 0
    other.execute("commit")
    assert seal(10) == 1


def test_sweeps_purges_runs_and_verifications_at_once_leave_a_whole_chain(clock: Clock) -> None:
    for employee in range(100, 140):
        pay(employee)
    clock.forward(hours=25)
    sweep()
    clock.forward(days=401)

    def work(i: int) -> list[str]:
        found: list[str] = []
        for round in range(8):
            if i < 3:
                pay(i * 100 + round)
                pay(i * 100 + round)
                with transaction.atomic():
                    pay(1000 + i * 100 + round)
            elif i < 6:
                sweep()
            else:
                found += broken()
        return found

    outcomes = at_once(8, work)
    assert outcomes == [[]] * 8
    sweep()
    assert broken() == []
    assert sorted(sealed("event")) == sorted(set(sealed("event")))
    there = set(TaskExecution.objects.values_list("id", flat=True))
    assert there <= set(sealed())
    assert len(there) == 48
