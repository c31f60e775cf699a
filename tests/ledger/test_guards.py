"""What the database itself refuses, whoever asks: here a superuser, in plain SQL."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import transaction
from psycopg.errors import RaiseException

from ledger import idempotent_task
from ledger.models import ExecutionEvent, State, TaskExecution
from ledger.sweep import sweep
from tests.ledger.conftest import Clock
from tests.ledger.death import die, dies
from tests.ledger.marks import commits

pytestmark = commits


@idempotent_task()
def task(outcome: str) -> dict[str, int]:
    if outcome == State.FAILED:
        raise ValueError("no")
    if outcome == State.RUNNING:
        die()
    return {"paid": 7}


Rows = Callable[[str], TaskExecution]


@pytest.fixture
def superuser(session: Callable[[], psycopg.Connection]) -> psycopg.Connection:
    opened = session()
    assert opened.execute("select current_setting('is_superuser')").fetchone() == ("on",)
    return opened


@pytest.fixture
def row(superuser: psycopg.Connection) -> Rows:
    """Makes an execution in the state asked for: a State, or ``retired``."""

    def make(state: str) -> TaskExecution:
        if state == State.FAILED:
            with pytest.raises(ValueError, match="no"):
                task(state)
        elif state in (State.RUNNING, State.HELD):
            dies(task, State.RUNNING)
        else:
            task("fine")
        if state == State.HELD:
            superuser.execute("update ledger_taskexecution set state = 'held'")
        if state == "retired":
            superuser.execute(
                "update ledger_taskexecution set retired_at = now(), retired_reason = 'test'"
            )
        return TaskExecution.objects.get()

    return make


FORBIDDEN: dict[str, list[str]] = {
    State.RUNNING: [
        "attempt = 0",
        "retired_at = now()",
        "key = 'another'",
        "task_name = 'another'",
        "period = '2026-11'",
        "guarantee = 'at_least_once'",
        "claimed_at = now()",
        "id = 7",
    ],
    State.COMPLETED: [
        "state = 'running'",
        "state = 'failed'",
        "state = 'held'",
        "result = '{\"paid\": 8}'",
        "result = null",
        "completed_at = now() + interval '1 day'",
        "completed_at = null",
        "key = 'another'",
        "attempt = 0",
        "retired_at = now(), state = 'running'",
        "args_hash = 'another'",
        "arguments = '{}'",
        "crashes = 3",
        "task_id = 'another'",
        "root_id = 'another'",
        "worker = 'another'",
        "started_at = now()",
        "expires_at = now()",
        "expires_at = null",
        "error = 'another'",
    ],
    State.FAILED: ["state = 'completed'", "key = 'another'", "attempt = 0", "claimed_at = now()"],
    State.HELD: ["state = 'running'", "key = 'another'", "attempt = 0", "task_name = 'another'"],
    "retired": [
        "retired_at = null",
        "retired_at = now() + interval '1 day'",
        "retired_reason = 'another'",
        "error = 'another'",
        "arguments = '{}'",
        "state = 'running'",
    ],
}

ALLOWED: dict[str, list[str]] = {
    State.RUNNING: [
        "state = 'completed', completed_at = now(), result = '1'",
        "state = 'failed'",
        "state = 'held'",
        "attempt = attempt + 1, crashes = crashes + 1",
    ],
    State.COMPLETED: ["retired_at = now(), retired_reason = 'expired'"],
    State.FAILED: [
        "state = 'running', attempt = attempt + 1",
        "state = 'held'",
        "retired_at = now()",
    ],
    State.HELD: [
        "state = 'completed', completed_at = now()",
        "state = 'failed'",
        "retired_at = now()",
    ],
}


def pairs(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(str(state), change) for state, changes in table.items() for change in changes]


@pytest.mark.parametrize(("state", "change"), pairs(FORBIDDEN))
def test_an_illegal_change_is_refused(
    row: Rows, superuser: psycopg.Connection, state: str, change: str
) -> None:
    before = row(state)
    with pytest.raises(RaiseException, match=rf"execution {before.pk} is .*cannot become"):
        superuser.execute(f"update ledger_taskexecution set {change}")
    after = TaskExecution.objects.values().get()
    assert after == TaskExecution.objects.filter(pk=before.pk).values().get()
    assert after["state"] == before.state
    assert after["result"] == before.result


@pytest.mark.parametrize(("state", "change"), pairs(ALLOWED))
def test_a_legal_change_is_not(
    row: Rows, superuser: psycopg.Connection, state: str, change: str
) -> None:
    row(state)
    assert superuser.execute(f"update ledger_taskexecution set {change}").rowcount == 1


@pytest.mark.parametrize("state", [*State.values, "retired"])
def test_an_execution_is_never_deleted(
    row: Rows, superuser: psycopg.Connection, state: str
) -> None:
    row(state)
    superuser.execute("alter table ledger_executionevent disable trigger all")
    try:
        superuser.execute("delete from ledger_executionevent")
    finally:
        superuser.execute("alter table ledger_executionevent enable trigger all")
    with pytest.raises(RaiseException, match="the ledger never deletes"):
        superuser.execute("delete from ledger_taskexecution")
    assert TaskExecution.objects.count() == 1


def test_nor_through_the_orm(row: Rows) -> None:
    with pytest.raises(Exception, match="the ledger never deletes"):
        row(State.COMPLETED).delete()
    with pytest.raises(Exception, match="the ledger never deletes"):
        TaskExecution.objects.all().delete()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("delete from ledger_executionevent", "the ledger never deletes"),
        ("update ledger_executionevent set reason = 'nicer'", "is history and cannot be changed"),
        ("update ledger_executionevent set at = now()", "is history and cannot be changed"),
        ("update ledger_executionevent set execution_id = execution_id", "is history"),
    ],
)
def test_an_event_is_never_changed_or_deleted(
    row: Rows, superuser: psycopg.Connection, statement: str, reason: str
) -> None:
    row(State.FAILED)
    before = ExecutionEvent.objects.values().get()
    with pytest.raises(RaiseException, match=reason):
        superuser.execute(statement)
    assert ExecutionEvent.objects.values().get() == before


def test_the_purge_alone_may_delete_and_its_permission_ends_with_it(
    row: Rows, clock: Clock, superuser: psycopg.Connection
) -> None:
    row(State.FAILED)
    clock.forward(hours=25)
    assert sweep() == {"retired": 1, "purged": 0}
    task("fine")
    clock.forward(days=401)

    with transaction.atomic():
        assert sweep()["purged"] == 1
        with pytest.raises(Exception, match="the ledger never deletes"), transaction.atomic():
            TaskExecution.objects.all().delete()

    assert TaskExecution.objects.count() == 1
    with pytest.raises(RaiseException):
        superuser.execute("delete from ledger_taskexecution")


TABLES = ("taskexecution", "executionevent", "executionstep", "outboxmessage", "seal")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_never_emptied(row: Rows, superuser: psycopg.Connection, table: str) -> None:
    row(State.FAILED)
    superuser.execute("set ledger.truncating = off")  # as in a database that is no test's
    with pytest.raises(RaiseException, match=f"never truncates ledger_{table}: .*sweeps"):
        superuser.execute(f"truncate ledger_{table} cascade".encode())
    assert TaskExecution.objects.count() == ExecutionEvent.objects.count() == 1


def test_but_what_a_test_wrote_is(row: Rows, superuser: psycopg.Connection) -> None:
    row(State.FAILED)
    superuser.execute("truncate ledger_taskexecution cascade")
    assert not TaskExecution.objects.exists()


@pytest.mark.parametrize("change", ["delete from ledger_seal", "update ledger_seal set upto = 0"])
def test_a_seal_is_kept_even_from_the_purge(
    row: Rows, superuser: psycopg.Connection, change: str
) -> None:
    row(State.COMPLETED)
    sweep()
    superuser.execute("set ledger.purging = on")
    with pytest.raises(RaiseException, match="ledger_seal 1 is evidence and is kept as it is"):
        superuser.execute(change.encode())
