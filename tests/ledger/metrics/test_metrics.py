"""What a scrape says is what happened, whoever did it and however long ago."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from prometheus_client import CollectorRegistry

from ledger import (
    ExecutionHeld,
    LostClaim,
    current_execution,
    idempotent_task,
    make_idempotency_key,
    store,
)
from ledger.lookup import clear
from ledger.metrics import LedgerCollector
from ledger.models import ExecutionEvent, TallyMark, TaskExecution
from ledger.sweep import sweep
from ledger.testing import Clock
from tests.ledger.death import die, dies
from tests.ledger.marks import commits
from tests.ledger.metrics.conftest import Scrape
from tests.ledger.threads import PATIENCE, Elsewhere
from tests.testapp.models import Effect
from tests.workers import ROOT, process_environment, wait_until

pytestmark = commits

PAY = f"{__name__}.pay"
NOTIFY = f"{__name__}.notify"
WIRE = f"{__name__}.wire"
DEADLY = f"{__name__}.deadly"


@idempotent_task(ttl_hours=24)
def pay(employee: int) -> int:
    if employee < 0:
        raise ValueError("nobody")
    return Effect.objects.create(key=str(employee)).pk


@idempotent_task(guarantee="at_least_once", ttl_hours=24)
def notify(employee: int) -> str:
    return "sent"


@idempotent_task(guarantee="at_most_once")
def wire(transaction: int) -> str:
    raise OSError("the line went dead")


SLOW_LOCKS = """
    alter function ledger_locked rename to ledger_locked_at_once;
    create function ledger_locked() returns table (lock bigint, pid integer)
    language plpgsql volatile as $$ begin
        perform pg_advisory_xact_lock_shared(0);
        return query select * from ledger_locked_at_once();
    end $$
"""
LOCKS_AS_THEY_WERE = """
    drop function ledger_locked;
    alter function ledger_locked_at_once rename to ledger_locked
"""

lives: list[int] = []


@idempotent_task(ttl_hours=24)
def deadly(life: int) -> str:
    lives.append(life)
    if len(lives) == 1:
        die()
    return f"attempt {current_execution().attempt}"


def do_all_of_it() -> None:
    for employee in (1, 2, 3, 3, 3):
        pay(employee)
    with pytest.raises(ValueError, match="nobody"):
        pay(-1)
    notify(1)
    notify(1)
    with pytest.raises(OSError, match="dead"):
        wire(7)
    with pytest.raises(ExecutionHeld):
        wire(7)
    lives.clear()
    dies(deadly, 9)
    assert deadly(9) == "attempt 2"


ALL = 2_000_000_000
"""More ids than other tests have used up."""


def newest(executions: int = 0, events: int = 0) -> tuple[int, int]:
    """The ids of the execution and the event that so many are newer than."""
    executions_down = TaskExecution.objects.order_by("-id").values_list("id", flat=True)
    events_down = ExecutionEvent.objects.order_by("-id").values_list("id", flat=True)
    return executions_down[executions], next(iter(events_down[events:]), 0)


def count_all() -> None:
    """Sweep until all is counted: somebody else's open transaction on this server defers it."""
    executions, events = newest()

    def counted() -> bool:
        sweep()
        return TallyMark.objects.filter(execution__gte=executions, event__gte=events).exists()

    wait_until(counted)


COUNTED = {
    f"ledger_executions_total{{outcome=completed,task={PAY}}}": 3,
    f"ledger_executions_total{{outcome=failed,task={PAY}}}": 1,
    f"ledger_executions_total{{outcome=worker_lost,task={PAY}}}": 0,
    f"ledger_duplicates_total{{task={PAY}}}": 2,
    f"ledger_executions_total{{outcome=completed,task={NOTIFY}}}": 1,
    f"ledger_duplicates_total{{task={NOTIFY}}}": 1,
    f"ledger_executions_total{{outcome=completed,task={WIRE}}}": 0,
    f"ledger_executions_total{{outcome=failed,task={WIRE}}}": 1,
    f"ledger_holds_total{{task={WIRE}}}": 1,
    f"ledger_executions_total{{outcome=completed,task={DEADLY}}}": 1,
    f"ledger_executions_total{{outcome=worker_lost,task={DEADLY}}}": 1,
    f"ledger_take_overs_total{{task={DEADLY}}}": 1,
    f"ledger_take_overs_total{{task={PAY}}}": 0,
}


def counters(scraped: Mapping[str, float]) -> dict[str, float]:
    return {
        name: value
        for name, value in scraped.items()
        if "_total" in name and not name.startswith("ledger_errors")
    }


class TestCounters:
    def test_they_are_what_happened(self, scrape: Scrape) -> None:
        do_all_of_it()
        scraped = scrape()
        assert {name: scraped.get(name) for name in COUNTED} == COUNTED

    def test_they_are_the_same_before_and_after_the_sweep_counts_retires_and_purges(
        self, scrape: Scrape, clock: Clock
    ) -> None:
        do_all_of_it()
        before = counters(scrape())

        count_all()
        assert counters(scrape()) == before

        clock.forward(hours=25)
        assert sweep()["retired"] == 6
        assert counters(scrape()) == before

        clock.forward(days=401)
        assert sweep()["purged"] == 6
        assert TaskExecution.objects.count() == 1  # the held one
        assert counters(scrape()) == before

        do_all_of_it_but_wire()
        again = {name: value * 2 for name, value in COUNTED.items() if WIRE not in name}
        assert {name: scrape().get(name) for name in again} == again

    @pytest.mark.parametrize(("executions", "events"), [(1, 0), (0, 2)])
    def test_a_purge_leaves_what_no_sweep_has_counted(
        self, scrape: Scrape, clock: Clock, executions: int, events: int
    ) -> None:
        do_all_of_it()
        before = counters(scrape())
        # The newest execution is not counted, or its two events are not; and two had not finished.
        store.tally_on(connection, ALL, *newest(executions, events))
        assert retired_and_purged(clock) == (6, 4)
        assert counters(scrape()) == before
        count_all()  # a sweep, which purges the others; the held one stays
        assert TaskExecution.objects.count() == 1
        assert counters(scrape()) == before

    def test_a_purge_before_the_first_sweep_leaves_all(self, scrape: Scrape, clock: Clock) -> None:
        do_all_of_it()
        before = counters(scrape())
        assert retired_and_purged(clock) == (6, 0)
        assert counters(scrape()) == before

    def test_what_completes_behind_the_mark_is_counted_once(self, scrape: Scrape) -> None:
        completed = f"ledger_executions_total{{outcome=completed,task={DEADLY}}}"
        lives.clear()
        dies(deadly, 1)
        count_all()
        assert TallyMark.objects.get().unfinished == [TaskExecution.objects.get().pk]
        assert scrape()[completed] == 0
        deadly(1)
        assert scrape()[completed] == 1
        wait_until(lambda: sweep() and TallyMark.objects.get().unfinished == [])
        assert scrape()[completed] == 1
        sweep()
        assert scrape()[completed] == 1

    def test_the_mark_does_not_pass_a_row_that_is_not_yet_committed(
        self, scrape: Scrape, session: Callable[[], psycopg.Connection]
    ) -> None:
        pay(1)
        slow = session()
        slow.autocommit = False
        slow.execute(
            "insert into ledger_executionevent"
            " (execution_id, kind, at, attempt, task_id, worker, actor, reason, traceback)"
            " select id, 'skipped', ledger_now(), 1, '', '', '', '', '' from ledger_taskexecution"
        )
        pay(1)
        sweep()
        assert not TallyMark.objects.filter(event__gt=0).exists()
        duplicates = f"ledger_duplicates_total{{task={PAY}}}"
        assert scrape()[duplicates] == 1
        slow.commit()
        assert scrape()[duplicates] == 2
        count_all()
        assert scrape()[duplicates] == 2

    def test_batches_add_up(self, scrape: Scrape, monkeypatch: pytest.MonkeyPatch) -> None:
        pay(99)
        pay(99)
        count_all()  # or small batches would go through every id that earlier tests have used up
        do_all_of_it()
        before = counters(scrape())
        monkeypatch.setattr("ledger.sweep.TALLY_BATCH", 2)
        count_all()
        assert counters(scrape()) == before


def retired_and_purged(clock: Clock) -> tuple[int, int]:
    """What a sweep would have retired and purged that had counted nothing."""
    clock.forward(days=500)
    retired = store.retire_expired(connection, 100)
    clock.forward(days=500)
    return retired, store.purge(connection, dt.timedelta(days=400), 100)


def do_all_of_it_but_wire() -> None:
    for employee in (1, 2, 3, 3, 3):
        pay(employee)
    with pytest.raises(ValueError, match="nobody"):
        pay(-1)
    notify(1)
    notify(1)
    lives.clear()
    dies(deadly, 9)
    deadly(9)


class TestGauges:
    def test_an_empty_ledger_is_up_and_has_nothing_open(self, scrape: Scrape) -> None:
        scraped = scrape()
        names = ("up", "live_executions", "history_executions", "unpublished_follow_ups")
        assert [scraped[f"ledger_{name}"] for name in names] == [1, 0, 0, 0]
        assert (scraped["ledger_sweep_lag_seconds"], scraped["ledger_outbox_lag_seconds"]) == (0, 0)

    def test_open_executions_by_state(self, scrape: Scrape, clock: Clock) -> None:
        do_all_of_it()
        scraped = scrape()
        assert scraped[f"ledger_open_executions{{state=held,task={WIRE}}}"] == 1
        assert scraped[f"ledger_open_executions{{state=failed,task={PAY}}}"] == 1
        assert scraped[f"ledger_open_executions{{state=running,task={PAY}}}"] == 0
        assert scraped["ledger_live_executions"] == 7
        assert scraped["ledger_history_executions"] == 0
        clear(make_idempotency_key(PAY, [1]), "default", reason="wrong", actor="ana")
        assert scrape()["ledger_live_executions"] == 6
        assert scrape()["ledger_history_executions"] == 1

    def test_stuck_is_what_runs_without_a_worker_and_looking_takes_no_lock(
        self, scrape: Scrape, clock: Clock, session: Callable[[], psycopg.Connection]
    ) -> None:
        stuck = f"ledger_stuck_executions{{task={DEADLY}}}"
        lives.clear()
        dies(deadly, 1)
        assert scrape()[stuck] == 0  # it may be between its claim and its lock
        clock.forward(seconds=30)
        scraped = scrape()
        assert scraped[stuck] == 1
        assert scraped[f"ledger_open_executions{{state=running,task={DEADLY}}}"] == 1
        assert 30 <= scraped[f"ledger_oldest_running_seconds{{task={DEADLY}}}"] < 60

        alive = session()
        alive.autocommit = False
        alive.execute("select pg_advisory_xact_lock(ledger_lock_id(key)) from ledger_taskexecution")
        assert scrape()[stuck] == 0

    def test_what_ends_while_the_locks_are_about_to_be_read_is_not_stuck(
        self, session: Callable[[], psycopg.Connection]
    ) -> None:
        other = session()
        looking: list[Future[int]] = []

        @idempotent_task()
        def looked_at() -> None:
            looking.append(elsewhere.call(stuck))
            wait_until(
                lambda: other.execute("select pid from pg_locks where not granted").fetchone(),
                what="the look at the gate",
            )

        def stuck() -> int:
            with connection.cursor() as cursor:
                cursor.execute("select sum(stuck) from ledger_open_figures('-1 minute')")
                return int(cursor.fetchone()[0] or 0)

        other.execute("select pg_advisory_lock(0)")
        other.execute(SLOW_LOCKS)
        try:
            with Elsewhere() as elsewhere:
                try:
                    looked_at()
                finally:
                    other.execute("select pg_advisory_unlock(0)")
                assert looking[0].result(PATIENCE) == 0
        finally:
            other.execute(LOCKS_AS_THEY_WERE)

    def test_workers_lost_in_a_row_end_with_the_execution(self, scrape: Scrape) -> None:
        crashes = f"ledger_crashes_in_a_row{{task={DEADLY}}}"
        lives.clear()
        dies(deadly, 1)
        lives.clear()
        dies(deadly, 1)
        assert scrape()[crashes] == 1
        deadly(1)
        assert scrape()[crashes] == 0

    def test_the_sweeps_lag_is_what_is_most_overdue(self, scrape: Scrape, clock: Clock) -> None:
        pay(1)
        clock.forward(hours=25)
        assert 3590 <= scrape()["ledger_sweep_lag_seconds"] <= 3660
        sweep()
        assert scrape()["ledger_sweep_lag_seconds"] == 0
        clock.forward(days=401)
        assert 86_300 <= scrape()["ledger_sweep_lag_seconds"] <= 86_500
        sweep()
        assert scrape()["ledger_sweep_lag_seconds"] == 0

    def test_the_outbox_lag_is_how_long_the_oldest_has_waited(
        self, scrape: Scrape, clock: Clock
    ) -> None:
        pay(1)
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into ledger_outboxmessage"
                " (execution_id, task_name, task_id, message, created_at, tries, error)"
                " select id, 'x', 'x', '{}', ledger_now(), 0, '' from ledger_taskexecution"
            )
        clock.forward(minutes=2)
        scraped = scrape()
        assert scraped["ledger_unpublished_follow_ups"] == 1
        assert 120 <= scraped["ledger_outbox_lag_seconds"] < 180


def test_errors_are_counted_by_task(scrape: Scrape) -> None:
    @idempotent_task(guarantee="at_least_once")
    def overtaken() -> None:
        with connection.cursor() as cursor:
            cursor.execute("update ledger_taskexecution set attempt = attempt + 1")

    name = f"{__name__}.{overtaken.__qualname__}"
    with pytest.raises(LostClaim):
        overtaken()
    scraped = scrape()
    assert scraped[f"ledger_errors_total{{error=lost_claim,task={name}}}"] == 1
    assert scraped[f"ledger_lost_claims_total{{task={name}}}"] == 1


def test_processes_that_share_a_folder_tell_of_each_others_errors(tmp_path: Path) -> None:
    program = """
import django
django.setup()
from ledger.metrics.errors import ERRORS, ErrorsCollector
ERRORS.labels("pay", "unreachable").inc()
print([sample.value for metric in ErrorsCollector().collect() for sample in metric.samples])
"""
    told = {**process_environment(), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for process in (1, 2):
        printed = subprocess.run(
            [sys.executable, "-c", program], env=told, cwd=ROOT, capture_output=True, check=True
        )
        assert printed.stdout.split(b"\n")[0] == b"[%d.0]" % process


def test_a_ledger_that_does_not_answer_is_down_and_says_nothing_else(
    scrape: Scrape, session: Callable[[], psycopg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.figures.PATIENCE", "100ms")
    somebody = session()
    somebody.autocommit = False
    somebody.execute("lock table ledger_tally in access exclusive mode")
    scraped = scrape()
    assert [name for name in scraped if not name.startswith("ledger_errors")] == ["ledger_up"]
    assert scraped["ledger_up"] == 0
    somebody.rollback()
    assert scrape()["ledger_up"] == 1


def test_a_project_with_a_registry_of_its_own_can_register_the_collector() -> None:
    registry = CollectorRegistry()
    registry.register(LedgerCollector())
    pay(1)
    assert (
        registry.get_sample_value("ledger_executions_total", {"task": PAY, "outcome": "completed"})
        == 1
    )
