"""Who lost its claim commits nothing: completing is bound to the attempt that was claimed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import psycopg
import pytest
from psycopg import ClientCursor, errors

from ledger import LostClaim, idempotent_task
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.death import dies
from tests.ledger.marks import commits
from tests.ledger.test_take_over import Frail
from tests.testapp.models import Effect

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]

STEALS = {
    "taken over": "update ledger_taskexecution set attempt = attempt + 1",
    "failed by recovery": "update ledger_taskexecution set state = 'failed'",
    "held": "update ledger_taskexecution set state = 'held'",
    "retired": "update ledger_taskexecution set state = 'failed', retired_at = now()",
    "completed": "update ledger_taskexecution set state = 'completed', completed_at = now()",
}


@pytest.mark.parametrize("steal", STEALS.values(), ids=STEALS.keys())
def test_a_run_whose_claim_was_changed_under_it_commits_nothing(
    session: Sessions, steal: str, caplog: pytest.LogCaptureFixture
) -> None:
    @idempotent_task()
    def task() -> str:
        Effect.objects.create(key="mine")
        session().execute(steal)
        return "done"

    with (
        caplog.at_level(logging.ERROR, "ledger"),
        pytest.raises(LostClaim, match=r"idempotent:.*attempt 1.*rolled back"),
    ):
        task()

    assert not Effect.objects.exists()
    assert TaskExecution.objects.get().result is None
    event = ExecutionEvent.objects.get()
    assert (event.kind, event.attempt) == ("lost_claim", 1)
    assert [record.ledger_outcome for record in caplog.records] == ["lost_claim"]  # type: ignore[attr-defined]


def test_completing_raises_in_the_server_so_that_the_commit_behind_it_commits_nothing(
    session: Sessions,
) -> None:
    """Effects, completion and COMMIT are one batch: were it only reported that no row matched, the
    server would go on to the COMMIT and the effects of a lost claim would stay."""
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    row = TaskExecution.objects.get()
    assert row.state == State.RUNNING

    for stale in (row.attempt + 1, row.attempt - 1):
        with pytest.raises(psycopg.Error) as lost:
            ClientCursor(session()).execute(
                "begin; insert into testapp_effect (key, note, at) values ('stale', '', now());"
                " select ledger_complete(%s, %s, '1', null); commit",
                [row.id, stale],
            )
        assert lost.value.sqlstate == "LDG01"
    assert not Effect.objects.exists()

    ClientCursor(session()).execute(
        "begin; insert into testapp_effect (key, note, at) values ('mine', '', now());"
        " select ledger_complete(%s, %s, '1', null); commit",
        [row.id, row.attempt],
    )
    assert Effect.objects.get().key == "mine"
    assert TaskExecution.objects.get().state == State.COMPLETED


def test_a_completed_execution_is_not_completed_again(session: Sessions) -> None:
    frail = Frail(deaths=0)
    frail.task(7)
    row = TaskExecution.objects.get()
    with pytest.raises(psycopg.Error):
        session().execute("select ledger_complete(%s, 1, '\"other\"', null)", [row.id])
    assert TaskExecution.objects.get().result == "paid"


def test_a_failure_of_a_lost_claim_leaves_the_newer_attempt_alone(session: Sessions) -> None:
    """It is recorded all the same: that body ran, and this is what it said."""

    @idempotent_task()
    def task() -> None:
        session().execute(STEALS["taken over"])
        raise ValueError("too late")

    with pytest.raises(ValueError, match="too late"):
        task()

    row = TaskExecution.objects.get()
    assert (row.state, row.attempt) == (State.RUNNING, 2)
    assert list(row.events.values_list("kind", "attempt")) == [("failed", 1)]


def test_a_failure_does_not_settle_an_attempt_that_somebody_else_is_running(
    session: Sessions,
) -> None:
    """The failed run lets go of the lock when it rolls back; another may have it before the failure
    is recorded, and has then claimed an attempt of its own."""
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    row = TaskExecution.objects.get()
    other = session()
    other.autocommit = False
    other.execute("select pg_advisory_xact_lock(ledger_lock_id(%s))", [row.key])

    session().execute(
        "select ledger_fail(%s, %s, %s, null, '', 'w', 'error', '', 'failed')",
        [row.key, row.id, row.attempt],
    )

    assert TaskExecution.objects.get().state == State.RUNNING
    assert ExecutionEvent.objects.get().kind == "failed"


def test_taking_over_is_bound_to_the_attempt_that_was_seen_dead(session: Sessions) -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    row = TaskExecution.objects.get()
    take_over = "select ledger_take_over(%s, %s, %s, 3, '', '', 'w')"
    one = session()
    assert one.execute(take_over, [row.key, row.id, row.attempt + 1]).fetchone() == (None,)
    assert one.execute(take_over, [row.key, row.id, row.attempt]).fetchone() == ([row.id, 2],)
    assert one.execute(take_over, [row.key, row.id, row.attempt]).fetchone() == (None,)
    assert TaskExecution.objects.get().attempt == 2


def test_neither_taking_over_nor_abandoning_is_possible_while_the_worker_lives(
    session: Sessions,
) -> None:
    """It may have been slow to lock, and looked dead when it was looked at."""
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    row = TaskExecution.objects.get()
    alive = session()
    alive.autocommit = False
    alive.execute("select pg_advisory_xact_lock(ledger_lock_id(%s))", [row.key])

    call = [row.key, row.id, row.attempt]
    other = session()
    taken = other.execute("select ledger_take_over(%s, %s, %s, 3, '', '', 'w')", call)
    assert taken.fetchone() == (None,)
    abandoned = other.execute("select ledger_abandon(%s, %s, %s, '')", call)
    assert abandoned.fetchone() == (False,)

    assert TaskExecution.objects.get().attempt == 1
    assert not ExecutionEvent.objects.exists()


def test_abandoning_is_bound_to_the_attempt_that_was_seen_dead(session: Sessions) -> None:
    frail = Frail(deaths=1)
    dies(frail.task, 7)
    row = TaskExecution.objects.get()
    abandon = "select ledger_abandon(%s, %s, %s, 'ana')"
    one = session()
    assert one.execute(abandon, [row.key, row.id, row.attempt + 1]).fetchone() == (False,)
    assert one.execute(abandon, [row.key, row.id, row.attempt]).fetchone() == (True,)
    assert one.execute(abandon, [row.key, row.id, row.attempt]).fetchone() == (False,)
    assert ExecutionEvent.objects.get().actor == "ana"


def test_one_live_row_per_key_is_the_databases_own_law(session: Sessions) -> None:
    Frail(deaths=0).task(7)
    with pytest.raises(errors.UniqueViolation, match="ledger_one_live_row_per_key"):
        session().execute(
            "insert into ledger_taskexecution (key, task_name, args_hash, arguments, guarantee,"
            " state, attempt, crashes, task_id, root_id, worker, claimed_at, started_at,"
            " retired_reason, error) select key, task_name, args_hash, arguments, guarantee,"
            " 'running', 1, 0, '', '', 'w', now(), now(), '', '' from ledger_taskexecution"
        )
