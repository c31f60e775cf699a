"""No sealed row is altered, removed or inserted without being named, by whomever it was."""

from __future__ import annotations

import re
from hashlib import sha256

import pytest
from django.db import connection, models
from pytest_django import Settings

from ledger.evidence.heads import head, parse
from ledger.evidence.models import Seal, UnsealedExecution
from ledger.evidence.verify import Verification
from ledger.lookup import clear
from ledger.models import ExecutionEvent, ExecutionStep, State, TaskExecution
from ledger.sweep import sweep
from tests.ledger.conftest import Clock
from tests.ledger.evidence.conftest import Tamper, broken, in_steps, pay
from tests.ledger.marks import commits

pytestmark = [commits, pytest.mark.usefixtures("history")]

MAY_CHANGE = {"retired_at", "retired_reason"}
"""Of a completed execution; retiring it has tests of its own."""


def columns(model: type[models.Model]) -> list[tuple[type[models.Model], str]]:
    return [(model, str(field.column)) for field in model._meta.concrete_fields]


def other_value(model: type[models.Model], column: str) -> str:
    """SQL of another value of the column's type than any row has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select data_type from information_schema.columns"
            " where column_name = %s and table_name = %s",
            [column, model._meta.db_table],
        )
        (kind,) = cursor.fetchone()
    return {
        "bigint": "987654",
        "integer": "987654",
        "timestamp with time zone": "'2001-01-01 00:00:00.000001+00'",
        "json": "'\"other\"'",
        "jsonb": "'\"other\"'",
    }.get(kind, "'other'")


def test_what_was_sealed_and_left_alone_is_as_it_was() -> None:
    sweep()
    verification = Verification("default")
    assert list(verification) == []
    assert verification.rows == 4 + 2 + 1  # completed executions, events, steps
    assert verification.unsealed == 1  # failed, so that it may still run
    assert verification.head == head("default")


def test_nothing_sealed_yet_is_no_fault() -> None:
    assert broken() == []


@pytest.mark.parametrize(
    ("model", "column"),
    [
        (model, column)
        for model, column in (
            columns(TaskExecution) + columns(ExecutionEvent) + columns(ExecutionStep)
        )
        if column not in MAY_CHANGE
    ],
)
def test_a_changed_column_is_noticed(
    tamper: Tamper, model: type[models.Model], column: str
) -> None:
    sweep()
    row = model._base_manager.order_by("id").first()
    kind = model.__name__.removeprefix("Task").removeprefix("Execution").lower() or "execution"
    value = other_value(model, column)
    sql = f"update {model._meta.db_table} set {column} = {value} where id = {row.pk}"
    assert tamper(sql) == 1
    first = broken()[0]
    assert re.match(rf"{kind} {row.pk} was (altered|removed); see seal \d+ \(20", first)


@pytest.mark.parametrize("column", sorted(MAY_CHANGE))
def test_so_is_how_a_failed_execution_was_retired(
    tamper: Tamper, clock: Clock, column: str
) -> None:
    clock.forward(hours=25)
    sweep()
    row = TaskExecution.objects.get(state=State.FAILED)
    value = other_value(TaskExecution, column)
    tamper(f"update ledger_taskexecution set {column} = {value} where id = {row.pk}")
    assert broken() == [f"execution {row.pk} was altered; see {_seal_of(row.pk)}"]


@pytest.mark.parametrize("model", [TaskExecution, ExecutionEvent, ExecutionStep])
def test_a_removed_row_is_noticed(tamper: Tamper, model: type[models.Model]) -> None:
    sweep()
    row = model._base_manager.order_by("id").first()
    tamper(f"delete from {model._meta.db_table} where id = {row.pk}")
    [found] = broken()
    assert re.match(rf"\w+ {row.pk} was removed; see seal \d+", found)


def test_the_first_is_named_first(tamper: Tamper) -> None:
    sweep()
    ids = list(TaskExecution.objects.filter(state=State.COMPLETED).values_list("id", flat=True))
    tamper(f"update ledger_taskexecution set result = '8' where id in ({ids[2]}, {ids[1]})")
    assert [found.split(" was ")[0] for found in broken()] == [
        f"execution {ids[1]}",
        f"execution {ids[2]}",
    ]


def test_a_removed_execution_that_was_not_final_is_noticed(tamper: Tamper) -> None:
    sweep()
    failed = TaskExecution.objects.get(state=State.FAILED)
    tamper("delete from ledger_taskexecution where state = 'failed'")
    assert broken() == [f"execution {failed.pk} was removed: an earlier seal left it open"]


COPY = (
    "insert into {table} select * from jsonb_populate_record(null::{table}, "
    "(select to_jsonb(e) from {table} e order by id limit 1) || '{changes}')"
)


@pytest.fixture
def gap() -> int:
    """An id that no row has, below some that have: a rolled-back transaction drew it."""
    with connection.cursor() as cursor:
        cursor.execute("select nextval('ledger_taskexecution_id_seq')")
        (drawn,) = cursor.fetchone()
        cursor.execute("select setval('ledger_executionevent_id_seq', %s + 100000)", [drawn])
        cursor.execute("select setval('ledger_executionstep_id_seq', %s + 100000)", [drawn])
    pay(5)
    pay(5)
    in_steps(5)
    return drawn


@pytest.mark.parametrize(
    ("kind", "changes"), [("execution", ', "key": "another"'), ("event", ""), ("step", "")]
)
def test_an_inserted_row_is_noticed(tamper: Tamper, gap: int, kind: str, changes: str) -> None:
    sweep()
    if kind == "step":
        changes += ', "name": "another"'
    table = {"execution": "ledger_taskexecution"}.get(kind, f"ledger_execution{kind}")
    # to_jsonb of a whole row, and back
    tamper(COPY.format(table=table, changes=f'{{"id": {gap}{changes}}}'))
    [found] = broken()
    assert re.match(rf"{kind} {gap} was inserted; see seal \d+", found)


def test_one_that_is_slipped_under_the_next_seal_is_noticed(tamper: Tamper, gap: int) -> None:
    sweep()
    changes = f'{{"id": {gap}, "key": "another"}}'
    tamper(COPY.format(table="ledger_taskexecution", changes=changes))
    tamper(f"insert into ledger_unsealedexecution values ({gap})")
    sweep()
    assert f"execution {gap} was inserted" in broken()[0]
    assert any("inserted behind an earlier seal" in found for found in broken())


@pytest.mark.parametrize(
    "change",
    [
        "insert into ledger_unsealedexecution values (1000000)",
        "delete from ledger_unsealedexecution",
    ],
)
def test_the_list_of_what_is_left_to_seal_is_held_against_the_chain(
    tamper: Tamper, change: str
) -> None:
    sweep()
    assert tamper(change) == 1
    [found] = broken()
    assert "was added to, or removed from, those that are left to seal" in found


class TestTheChain:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("sealed_at", "now() + interval '1 day'"),
            ("kind", "'step'"),
            ("act", "'purged'"),
            ("upto", "upto + 1"),
            ("ids", "array_append(ids, 7777)"),
            ("digests", "digests || digests"),
            ("opened", "array_append(opened, 7777)"),
            ("digest", "sha256(digest)"),
        ],
    )
    def test_an_altered_seal_is_noticed(self, tamper: Tamper, column: str, value: str) -> None:
        sweep()
        assert tamper(f"update ledger_seal set {column} = {value} where id = 1") == 1
        assert re.match(r"seal 1 \(.*\) was altered", broken()[0])

    def test_a_removed_seal_is_noticed(self, tamper: Tamper) -> None:
        sweep()
        tamper("delete from ledger_seal where id = 2")
        assert "seal 2 was removed from the chain" in broken()

    def test_one_that_is_removed_and_the_rest_renumbered_is_noticed(self, tamper: Tamper) -> None:
        sweep()
        tamper("delete from ledger_seal where id = 2")
        tamper("update ledger_seal set id = 2 where id = 3")
        assert any(re.match(r"seal 2 \(.*\) was altered", found) for found in broken())

    def test_an_end_that_was_cut_off_is_noticed_by_who_kept_the_head(self, tamper: Tamper) -> None:
        sweep()
        kept = head("default")
        tamper("delete from ledger_seal where id > 1")
        tamper("delete from ledger_executionevent")
        tamper("delete from ledger_executionstep")
        assert list(Verification("default")) == []
        [found] = Verification("default", parse(kept))
        assert "is not in the chain" in found.how

    def test_so_is_a_chain_that_a_superuser_made_anew(self, tamper: Tamper) -> None:
        sweep()
        kept = head("default")
        assert list(Verification("default", parse(kept))) == []
        tamper("delete from ledger_seal; delete from ledger_unsealedexecution")
        tamper("update ledger_taskexecution set result = '{\"paid\": 8}' where state = 'completed'")
        sweep()
        assert list(Verification("default")) == []
        [found] = Verification("default", parse(kept))
        assert kept in found.what

    def test_a_head_that_was_kept_holds_while_the_chain_grows(self) -> None:
        sweep()
        kept = head("default")
        pay(6)
        sweep()
        assert head("default") != kept
        assert list(Verification("default", parse(kept))) == []

    def test_a_seals_digest_can_be_computed_without_the_ledger(self) -> None:
        sweep()
        first, second = Seal.objects.order_by("id")[:2]
        at, ids = f"{second.sealed_at.timestamp():.6f}", ",".join(map(str, second.ids))
        text = f"2 {at} {second.kind} sealed {second.upto} {{{ids}}} {{}} "
        whole = bytes(first.digest) + text.encode() + bytes(second.digests)
        assert sha256(whole).digest() == bytes(second.digest)


def test_a_function_that_was_replaced_is_noticed(tamper: Tamper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_get_functiondef(to_regproc('ledger_event_digest'))")
        (original,) = cursor.fetchone()
    sweep()
    tamper(
        "create or replace function ledger_event_digest(e ledger_executionevent) returns bytea "
        "language sql as $$ select sha256('') $$"
    )
    try:
        assert "function ledger_event_digest() is not this release's" in broken()[0]
    finally:
        tamper(original)


class TestRetiring:
    def test_an_expired_execution_may_be_retired(self, clock: Clock) -> None:
        sweep()
        clock.forward(hours=25)
        assert sweep()["retired"] == 5
        assert broken() == []

    def test_a_person_may_clear_one(self) -> None:
        sweep()
        row = TaskExecution.objects.filter(state=State.COMPLETED).first()
        clear(row.key, "default", reason="wrong hours", actor="ana")
        sweep()
        assert broken() == []

    @pytest.mark.parametrize("reason", ["expired", "cleared: wrong hours"])
    def test_nobody_retires_one_silently(self, tamper: Tamper, reason: str) -> None:
        sweep()
        row = TaskExecution.objects.filter(state=State.COMPLETED).first()
        tamper(
            f"update ledger_taskexecution set retired_at = now(), retired_reason = '{reason}' "
            f"where id = {row.pk}"
        )
        assert broken() == [
            f"execution {row.pk} is retired, but had not expired, and nobody cleared it"
        ]

    def test_nobody_makes_one_live_again(self, tamper: Tamper) -> None:
        row = TaskExecution.objects.filter(state=State.COMPLETED).first()
        clear(row.key, "default", reason="wrong hours", actor="ana")
        sweep()
        tamper("update ledger_taskexecution set retired_at = null, retired_reason = ''")
        assert broken() == [f"execution {row.pk} is live, although it was retired"]


class TestPurging:
    @pytest.fixture(autouse=True)
    def purged(self, history: None, clock: Clock) -> None:
        sweep()
        clock.forward(hours=25)
        sweep()
        pay(1)
        clock.forward(days=401)
        assert sweep()["purged"] == 5

    def test_what_was_purged_is_not_missed(self) -> None:
        assert TaskExecution.objects.count() == 1
        verification = Verification("default")
        assert list(verification) == []
        assert verification.purged == 5
        assert verification.purged_after.days == 401  # the failed one was sealed when it expired

    def test_whoever_deletes_under_the_purges_flag_is_found_out(self, tamper: Tamper) -> None:
        row = TaskExecution.objects.get()
        with connection.cursor() as cursor:
            cursor.execute("set ledger.purging = 'on'")
            cursor.execute("delete from ledger_taskexecution")
            cursor.execute("reset ledger.purging")
        assert broken() == [f"execution {row.pk} was removed; see {_seal_of(row.pk)}"]


def test_it_does_not_depend_on_the_sessions_settings(settings: Settings) -> None:
    with connection.cursor() as cursor:
        for setting, value in (
            ("TimeZone", "Asia/Kathmandu"),
            ("DateStyle", "German, DMY"),
            ("IntervalStyle", "sql_standard"),
            ("extra_float_digits", "-15"),
            ("bytea_output", "escape"),
            ("client_encoding", "LATIN1"),
        ):
            cursor.execute(f"set {setting} = '{value}'")
        sweep()
    connection.close()
    assert broken() == []


def _seal_of(execution: int) -> str:
    found = Seal.objects.get(kind="execution", act="sealed", ids__contains=[execution])
    return f"seal {found.pk} ({found.sealed_at:%Y-%m-%d %H:%M:%S} UTC)"


def test_what_is_left_to_seal_is_what_is_not_final() -> None:
    sweep()
    assert list(UnsealedExecution.objects.values_list("execution_id", flat=True)) == list(
        TaskExecution.objects.filter(state=State.FAILED).values_list("id", flat=True)
    )
