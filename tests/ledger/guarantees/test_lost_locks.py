"""The connection that holds the lock is lost while the body runs, or while its end is recorded.

The body has happened; what is recorded depends on whether the attempt is still the running one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from pytest_django import Settings

from ledger import (
    ExecutionHeld,
    LedgerUnavailable,
    LostClaim,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
    release,
)
from ledger.models import ExecutionEvent, TaskExecution
from ledger.sweep import recover
from ledger.testing import Clock
from tests.ledger.guarantees.locks import cut, holder
from tests.ledger.guarantees.proxy import Proxy, proxied
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for
from tests.testapp.models import Effect
from tests.workers import wait_until

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]
BOTH = pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])


class Doubtful:
    """A task whose first attempt loses its lock, and then does as it was told."""

    def __init__(self, then: Callable[[], object] = lambda: None, **options: Any) -> None:
        self.attempts: list[int] = []

        @idempotent_task(**options)
        def task(number: int) -> str:
            attempt = current_execution().attempt
            self.attempts.append(attempt)
            Effect.objects.create(key=str(number), note=str(attempt))
            if len(self.attempts) == 1:
                cut()
                then()
            return f"result of run {len(self.attempts)}"

        self.task = task
        self.name = f"{task.__module__}.{task.__qualname__}"


def elsewhere(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What another process would get."""
    with Elsewhere() as thread:
        return thread.call(function, *args, **kwargs).result(PATIENCE)


def story() -> list[tuple[str, int]]:
    return list(ExecutionEvent.objects.order_by("id").values_list("kind", "attempt"))


@BOTH
def test_a_body_whose_lock_was_lost_completes_on_a_new_connection(guarantee: str) -> None:
    doubtful = Doubtful(guarantee=guarantee)

    assert doubtful.task(7) == "result of run 1"

    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.crashes) == ("completed", 1, 0)
    assert story() == []
    assert doubtful.task(7) == "result of run 1"


@pytest.mark.parametrize(
    ("guarantee", "state"), [("at_least_once", "failed"), ("at_most_once", "held")]
)
def test_a_failure_is_recorded_on_a_new_connection(guarantee: str, state: str) -> None:
    def fail() -> None:
        raise ValueError("the body's own")

    with pytest.raises(ValueError, match="the body's own"):
        Doubtful(fail, guarantee=guarantee).task(7)

    row = TaskExecution.objects.get()
    assert (row.state, row.attempt) == (state, 1)
    assert story()[0] == ("failed", 1)


@BOTH
def test_a_lock_connection_lost_while_idle_costs_nothing(guarantee: str, session: Sessions) -> None:
    pids = []

    @idempotent_task(guarantee=guarantee)
    def task(number: int) -> int:
        pids.append(holder(current_execution().key))
        return number

    task(1)
    session().execute("select pg_terminate_backend(%s, 10000)", [pids[0]])

    assert task(2) == 2
    assert pids[0] != pids[1]
    assert list(TaskExecution.objects.values_list("attempt", "crashes")) == [(1, 0)] * 2


class TestTakenOver:
    def test_a_body_that_was_taken_over_is_told_and_its_result_is_kept_for_people(self) -> None:
        def meanwhile() -> None:
            assert elsewhere(doubtful.task, 7) == "result of run 2"

        doubtful = Doubtful(meanwhile, guarantee="at_least_once")

        with pytest.raises(LostClaim, match=r"idempotent:.*attempt 1.*lost.*outside.*stands"):
            doubtful.task(7)

        assert doubtful.attempts == [1, 2]
        row = TaskExecution.objects.get()
        assert (row.state, row.attempt, row.result) == ("completed", 2, "result of run 2")
        assert story() == [("abandoned", 1), ("taken_over", 2), ("lost_claim", 1)]
        lost = ExecutionEvent.objects.get(kind="lost_claim")
        assert lost.reason == 'its body has completed all the same; it returned "result of run 2"'

    def test_it_is_told_at_once_while_the_other_still_runs(self) -> None:
        inside, go_on = threading.Event(), threading.Event()

        @idempotent_task(guarantee="at_least_once")
        def task() -> str:
            if current_execution().attempt == 1:
                cut()
                others.append(threads.call(task))
                wait_for(inside)
                return "first"
            inside.set()
            wait_for(go_on)
            return "second"

        others: list[Any] = []
        with Elsewhere() as threads:
            with pytest.raises(LostClaim):
                task()
            row = TaskExecution.objects.get()
            assert (row.state, row.attempt) == ("running", 2)
            assert holder(row.key)
            go_on.set()
            assert others[0].result(PATIENCE) == "second"
        assert task() == "second"

    def test_a_failure_of_the_first_leaves_the_second_alone_and_is_told(self) -> None:
        def meanwhile() -> None:
            elsewhere(doubtful.task, 7)
            raise ValueError("the first one's")

        doubtful = Doubtful(meanwhile, guarantee="at_least_once")
        with pytest.raises(ValueError, match="the first one's"):
            doubtful.task(7)

        assert TaskExecution.objects.get().state == "completed"
        assert story() == [("abandoned", 1), ("taken_over", 2), ("failed", 1)]


class TestHeldMeanwhile:
    def hold(self) -> None:
        """Another delivery finds the lock free, and the execution in doubt."""
        with pytest.raises(ExecutionHeld):
            elsewhere(self.doubtful.task, 7)

    def test_it_stays_held_and_the_person_learns_that_it_completed(self) -> None:
        self.doubtful = Doubtful(self.hold, guarantee="at_most_once")

        with pytest.raises(LostClaim):
            self.doubtful.task(7)

        assert self.doubtful.attempts == [1]
        row = TaskExecution.objects.get()
        assert (row.state, row.attempt, row.crashes) == ("held", 1, 1)
        assert story() == [("abandoned", 1), ("held", 1), ("lost_claim", 1)]
        assert "completed all the same" in row.events.get(kind="lost_claim").reason
        with pytest.raises(ExecutionHeld):
            self.doubtful.task(7)

    def test_it_stays_held_once_where_it_failed(self) -> None:
        def meanwhile() -> None:
            self.hold()
            raise ValueError("the body's own")

        self.doubtful = Doubtful(meanwhile, guarantee="at_most_once")
        with pytest.raises(ValueError, match="the body's own"):
            self.doubtful.task(7)

        assert TaskExecution.objects.get().state == "held"
        assert story() == [("abandoned", 1), ("held", 1), ("failed", 1)]

    def test_a_decision_taken_meanwhile_is_not_overruled_by_its_failure(self) -> None:
        def meanwhile() -> None:
            self.hold()
            key = current_execution().key
            elsewhere(release, key, "completed", result="asked the bank", reason="booked")
            raise ValueError("the body's own")

        self.doubtful = Doubtful(meanwhile, guarantee="at_most_once")
        with pytest.raises(ValueError, match="the body's own"):
            self.doubtful.task(7)

        assert TaskExecution.objects.get().result == "asked the bank"
        assert story() == [("abandoned", 1), ("held", 1), ("released", 1), ("failed", 1)]


class TestSettledByOthers:
    """Whoever found the lock free was right to; the body that goes on loses its claim."""

    def test_by_recovery(self, clock: Clock) -> None:
        def meanwhile() -> None:
            clock.forward(minutes=1)
            assert len(recover()) == 1

        with pytest.raises(LostClaim):
            Doubtful(meanwhile, guarantee="at_least_once").task(7)
        row = TaskExecution.objects.get()
        assert (row.state, row.result) == ("failed", None)
        assert story() == [("abandoned", 1), ("lost_claim", 1)]

    @BOTH
    def test_by_a_hand_in_the_table_while_the_lock_is_held(
        self, guarantee: str, session: Sessions
    ) -> None:
        @idempotent_task(guarantee=guarantee)
        def task() -> str:
            session().execute("update ledger_taskexecution set attempt = attempt + 1")
            return "mine"

        with pytest.raises(LostClaim):
            task()
        assert TaskExecution.objects.get().result is None
        assert story() == [("lost_claim", 1)]

    def test_by_clearing(self) -> None:
        def meanwhile() -> None:
            assert elsewhere(clear_idempotency_key, doubtful.name, [7], reason="again")

        doubtful = Doubtful(meanwhile, guarantee="at_most_once")
        with pytest.raises(LostClaim):
            doubtful.task(7)
        assert TaskExecution.objects.get().retired_at is not None

    def test_by_clearing_and_a_new_execution_whose_first_attempt_died(
        self, session: Sessions
    ) -> None:
        """Same key, same attempt, running, its lock free: but it is another execution's."""

        def meanwhile() -> None:
            assert elsewhere(clear_idempotency_key, doubtful.name, [7], reason="again")
            session().execute(
                "select ledger_claim(key, task_name, args_hash, '{}', null, guarantee, 'id',"
                " 'root', 'w', 3, false) from ledger_taskexecution"
            )

        doubtful = Doubtful(meanwhile, guarantee="at_least_once")
        with pytest.raises(LostClaim):
            doubtful.task(7)

        new = TaskExecution.objects.get(retired_at=None)
        assert (new.state, new.attempt, new.task_id) == ("running", 1, "id")


class TestNetworkCuts:
    """The client cannot know whether the server did what it asked: it looks again."""

    @pytest.fixture
    def proxy(self, transactional_db: None) -> Iterator[Proxy]:
        with proxied() as proxy:
            yield proxy

    @BOTH
    @pytest.mark.parametrize("lost", ["request", "answer"])
    def test_a_completion_of_unknown_outcome_is_completed_once(
        self, guarantee: str, lost: str, proxy: Proxy
    ) -> None:
        @idempotent_task(guarantee=guarantee)
        def task() -> str:
            getattr(proxy, f"lose_{lost}")("ledger_complete")
            return "done"

        assert task() == "done"

        proxy.wait()
        row = TaskExecution.objects.get()
        assert (row.state, row.attempt, row.result) == ("completed", 1, "done")
        assert story() == []

    @BOTH
    @pytest.mark.parametrize("lost", ["request", "answer"])
    @pytest.mark.parametrize("statement", ["ledger_fail", "COMMIT"])
    def test_a_failure_of_unknown_outcome_is_recorded_and_hides_no_error(
        self, guarantee: str, lost: str, statement: str, proxy: Proxy
    ) -> None:
        @idempotent_task(guarantee=guarantee)
        def task() -> None:
            getattr(proxy, f"lose_{lost}")(statement)
            raise ValueError("the body's own")

        with pytest.raises(ValueError, match="the body's own"):
            task()

        proxy.wait()
        row = TaskExecution.objects.get()
        assert row.state == ("failed" if guarantee == "at_least_once" else "held")
        assert "the body's own" in row.events.filter(kind="failed")[0].reason

    def test_a_claim_of_unknown_outcome_runs_once(self, proxy: Proxy) -> None:
        """Its own claim looks like a dead worker's, and is taken over."""

        @idempotent_task(guarantee="at_least_once")
        def task(number: int) -> int:
            Effect.objects.create(key="done")
            return number

        task(1)
        proxy.lose_answer("ledger_claim")
        assert task(2) == 2
        proxy.wait()
        assert Effect.objects.count() == 2
        assert TaskExecution.objects.get(attempt=2).state == "completed"

    def test_it_waits_for_a_server_that_still_believes_in_the_lost_connection(
        self, proxy: Proxy
    ) -> None:
        @idempotent_task(guarantee="at_most_once")
        def task() -> str:
            proxy.lose_client("ledger_complete")
            return current_execution().key

        with Elsewhere() as threads:
            call = threads.call(task)
            proxy.wait()
            before = proxy.accepted
            wait_until(lambda: proxy.accepted > before + 2, what="three looks at the lock")
            assert not call.done()
            proxy.end()
            key = call.result(PATIENCE)
        row = TaskExecution.objects.get()
        assert (row.key, row.state, row.attempt) == (key, "completed", 1)

    def test_it_gives_up_in_the_end_and_says_that_it_ran(
        self, proxy: Proxy, settings: Settings
    ) -> None:
        settings.LEDGER = {"RECONNECT_SECONDS": 1}

        @idempotent_task(guarantee="at_least_once")
        def task() -> str:
            Effect.objects.create(key="stands", note=str(current_execution().attempt))
            if current_execution().attempt == 1:
                proxy.down()
            return "done"

        with pytest.raises(LedgerUnavailable, match="could not be reached"):
            task()
        assert proxy.refused > 2
        proxy.up()

        assert task() == "done"
        assert list(Effect.objects.values_list("note", flat=True)) == ["1", "2"]
        assert story() == [("abandoned", 1), ("taken_over", 2)]

    def test_a_failure_that_cannot_be_recorded_is_still_the_bodys_own(
        self, proxy: Proxy, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.LEDGER = {"RECONNECT_SECONDS": 1}

        @idempotent_task(guarantee="at_most_once")
        def task() -> None:
            proxy.down()
            raise ValueError("the body's own")

        with pytest.raises(ValueError, match="the body's own"):
            task()
        proxy.up()
        assert [r.ledger_outcome for r in caplog.records][-1] == "unrecorded"  # type: ignore[attr-defined]
        with pytest.raises(ExecutionHeld):
            task()

    def test_at_most_once_it_is_in_doubt_then(self, proxy: Proxy, settings: Settings) -> None:
        settings.LEDGER = {"RECONNECT_SECONDS": 1}

        @idempotent_task(guarantee="at_most_once")
        def task() -> str:
            Effect.objects.create(key="stands")
            proxy.down()
            return "done"

        with pytest.raises(LedgerUnavailable):
            task()
        proxy.up()

        with pytest.raises(ExecutionHeld):
            task()
        connection.close()  # the body's own, lost with the lock's
        assert Effect.objects.count() == 1

    def test_a_restart_within_the_time_is_waited_for(self, proxy: Proxy) -> None:
        @idempotent_task(guarantee="at_most_once")
        def task() -> str:
            proxy.down()
            back.start()
            return "done"

        def when_refused_twice() -> None:
            wait_until(lambda: proxy.refused >= 2)
            proxy.up()

        back = threading.Thread(target=when_refused_twice)
        assert task() == "done"
        back.join()
        assert TaskExecution.objects.get().state == "completed"


def test_a_lost_claim_leaves_no_transaction_open(session: Sessions) -> None:
    doubtful = Doubtful(
        lambda: elsewhere(clear_idempotency_key, doubtful.name, [7], reason="again"),
        guarantee="at_most_once",
    )
    with pytest.raises(LostClaim):
        doubtful.task(7)
    left = session().execute(
        "select count(*) from pg_stat_activity where state like 'idle in transaction%%'"
        " and datname = current_database()"
    )
    assert left.fetchone() == (0,)


def test_an_error_of_another_kind_leaves_no_transaction_open(session: Sessions) -> None:
    """As when somebody's own trigger on the table raises."""
    server = session()
    server.execute(
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin raise exception 'not here'; end $$;"
        " create trigger refusing before update on ledger_taskexecution for each row"
        " when (new.state = 'completed') execute function refuse()"
    )
    try:

        @idempotent_task(guarantee="at_least_once")
        def task() -> int:
            return current_execution().attempt

        with pytest.raises(Exception, match="not here"):
            task()
        assert holder(TaskExecution.objects.get().key) is None
    finally:
        server.execute("drop function refuse cascade")
    assert task() == 2
