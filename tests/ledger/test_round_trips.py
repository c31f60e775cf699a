"""What each path costs: round trips and statements, counted on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from celery import shared_task
from django.db import connection, transaction

from ledger import DuplicateExecution, clear_idempotency_key, idempotent_task, recent
from ledger.models import ExecutionEvent
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.wire import Wire
from tests.testapp.models import Effect

pytestmark = commits

CLAIM = ["begin", "ledger_claim", "commit", "ledger_lock"]
COMPLETE = ["ledger_complete", "commit"]


@idempotent_task()
def nothing(number: int) -> None: ...


@idempotent_task()
def one_insert(number: int) -> int:
    return Effect.objects.create(key=str(number)).pk


@shared_task(bind=True)
@idempotent_task()
def delivered(self: Any, number: int) -> int:
    return number


@pytest.fixture(autouse=True)
def fresh_process() -> None:
    """As in a process that has seen no execution yet, on an open connection."""
    recent._completed.clear()
    connection.ensure_connection()
    Effect.objects.exists()


def test_the_wire_sees_everything(wire: Wire) -> None:
    """The measure itself, on what Django does alone."""
    with wire.watched() as traffic, transaction.atomic():
        Effect.objects.create(key="a;b'c")
    assert traffic.statements == ["begin", "insert", "commit"]
    assert traffic.replies == 3


def test_a_first_run_claims_and_locks_in_one_and_completes_and_commits_in_one(wire: Wire) -> None:
    with wire.watched() as traffic:
        nothing(1)
    assert traffic.replies == len(traffic.sent) == 2
    assert traffic.statements == CLAIM + COMPLETE


def test_nothing_else_is_sent_around_the_bodys_own_statements(wire: Wire) -> None:
    with wire.watched() as traffic:
        one_insert(1)
    assert traffic.replies == len(traffic.sent) == 3
    assert traffic.statements == [*CLAIM, "insert", *COMPLETE]


def test_a_duplicate_of_another_processes_run_costs_one(wire: Wire) -> None:
    one_insert(1)
    recent._completed.clear()
    with wire.watched() as traffic:
        one_insert(1)
    assert traffic.replies <= 2
    assert traffic.statements[:4] == CLAIM
    assert set(traffic.statements[4:]) <= {"rollback", "commit"}


def test_a_duplicate_of_this_processes_run_costs_one(wire: Wire) -> None:
    one_insert(1)
    with wire.watched() as traffic:
        one_insert(1)
    assert traffic.statements == ["ledger_answer"]
    assert traffic.replies == 1
    assert ExecutionEvent.objects.get().kind == "skipped"


def test_a_redelivered_duplicate_costs_one(wire: Wire, inbox: Inbox) -> None:
    delivered.delay(1)
    first = inbox.take()
    assert first.run() == 1
    recent._completed.clear()
    delivered.delay(1)
    inbox.take().lose()
    again = inbox.take()
    assert again.message.delivery_info["redelivered"]
    with wire.watched() as traffic:
        assert again.run() == 1
    assert traffic.statements == ["ledger_answer"]
    assert traffic.replies == 1


def test_a_duplicate_refused_in_strict_mode_costs_no_more(wire: Wire) -> None:
    @idempotent_task(skip_on_duplicate=False)
    def strict() -> None: ...

    strict()
    with wire.watched() as traffic, pytest.raises(DuplicateExecution):
        strict()
    assert traffic.replies == 1


def test_a_failure_costs_its_rollback_and_its_record(wire: Wire) -> None:
    @idempotent_task()
    def fail() -> None:
        raise ValueError("no")

    with wire.watched() as traffic, pytest.raises(ValueError, match="no"):
        fail()
    assert traffic.statements == [*CLAIM, "rollback", "ledger_fail"]
    assert traffic.replies == 3


def test_the_claim_may_commit_asynchronously_but_never_the_effects() -> None:
    seen: list[str] = []

    @idempotent_task()
    def task() -> None:
        with connection.cursor() as cursor:
            cursor.execute("show synchronous_commit")
            seen.append(cursor.fetchone()[0])

    task()
    with connection.cursor() as cursor:
        cursor.execute("show synchronous_commit")
        seen.append(cursor.fetchone()[0])
    assert seen == ["on", "on"]


def test_it_stays_so_in_the_callers_own_transaction() -> None:
    with transaction.atomic():
        nothing(1)
        nothing(1)
        with connection.cursor() as cursor:
            cursor.execute("show synchronous_commit")
            assert cursor.fetchone() == ("on",)


def test_the_first_in_the_callers_transaction_begins_it_in_the_same_trip(wire: Wire) -> None:
    with wire.watched() as traffic, transaction.atomic():
        nothing(1)
    assert traffic.sent[0].startswith("begin; select ledger_claim(")
    assert traffic.statements[-1] == "commit"
    assert traffic.statements.count("begin") == 1


def test_no_prepared_statement_is_made() -> None:
    """A pooler in transaction mode would lose them."""
    for number in range(10):
        nothing(number)
        nothing(number)
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_prepared_statements")
        assert cursor.fetchone() == (0,)


def test_no_statement_scans_the_table_however_small_it_was_when_it_was_planned() -> None:
    """Plans are cached in a session; these are made when the table is known to be small.

    The foreign key of an event is checked by the server itself, at the commit, as it sees fit.
    """

    def scans() -> int:
        with connection.cursor() as cursor:
            cursor.execute("select pg_stat_force_next_flush()")
            cursor.execute(
                "select seq_scan from pg_stat_user_tables where relname = 'ledger_taskexecution'"
            )
            return int(cursor.fetchone()[0])

    @idempotent_task()
    def fails(number: int) -> None:
        raise ValueError(number)

    nothing(-1)
    with connection.cursor() as cursor:
        cursor.execute("vacuum analyze ledger_taskexecution")
    connection.close()
    before = scans()
    nothing(-2)
    assert scans() == before
    for number in range(20):
        nothing(number)
        recent._completed.clear()
        nothing(number)
        nothing(number)
        for _ in range(2):
            with pytest.raises(ValueError):  # noqa: PT011
                fails(number)
        clear_idempotency_key(f"{__name__}.nothing", [number])
    assert scans() - before <= ExecutionEvent.objects.count()
