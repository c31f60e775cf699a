"""Values that would break a query, a column, a log line or a page: harmless wherever they go."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from celery import shared_task
from django.db import connection
from pytest_django import Settings

from ledger import (
    UnstorableResult,
    UnusableArgument,
    check_idempotency_status,
    clear_idempotency_key,
    idempotent_task,
)
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.testapp.models import Effect

pytestmark = commits

HOSTILE = {
    "nul": "a\x00b",
    "lone surrogate": "a\ud800b",
    "emoji": "👩‍👩‍👧‍👦",
    "quotes": "'; drop table ledger_taskexecution; --",
    "backslashes": "\\'; \\x27; \\\\",
    "placeholders": "%s %(key)s %% {} $1 :name ?",
    "markup": "<script>alert(1)</script>",
    "control": "\x01\x1b[31m\r\n\t\x7f\u202e",
    "escapes": "\\u0000 \\ud800",
    "long": "x" * 100_000,
    "bytes": b"\x00\xff",
    "huge number": 10**400,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "deep": [[[[[["a\x00b"]]]]]],
    "names": {"a\x00b": 1, "\ud800": 2, "'": 3},
}


@shared_task
@idempotent_task()
def echo(value: Any) -> Any:
    Effect.objects.create(key="ran")
    return value


@idempotent_task()
def fail_with(value: Any) -> None:
    raise ValueError(value)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
class TestEverywhere:
    def test_as_an_argument(self, value: Any) -> None:
        @idempotent_task()
        def task(value: Any, *rest: Any, **named: Any) -> str:
            Effect.objects.create(key="ran")
            return "done"

        assert task(value, value, name=value) == "done"
        assert task(value, value, name=value) == "done"
        assert Effect.objects.count() == 1
        row = TaskExecution.objects.get()
        assert row.arguments
        assert "\x00" not in json.dumps(row.arguments, ensure_ascii=False)
        name = f"{task.__module__}.{task.__qualname__}"
        assert check_idempotency_status(name, [value, value], {"name": value})["executed"]
        assert clear_idempotency_key(name, [value, value], {"name": value})

    def test_in_a_failure(self, value: Any) -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            fail_with(value)
        row = TaskExecution.objects.get()
        assert row.state == State.FAILED
        assert row.error.startswith("ValueError(")
        assert len(row.error) <= 2000
        assert "ValueError" in row.events.get().traceback

    def test_in_the_name_of_the_task(self, value: Any) -> None:
        if not isinstance(value, str):
            return

        @idempotent_task()
        def task(self: Any) -> str:
            return "done"

        me = SimpleNamespace(name=value)
        if re.search("[\x00\ud800]", value) or len(value) > 200:
            with pytest.raises(UnusableArgument, match="task name"):
                task(me)
            return
        assert task(me) == task(me) == "done"
        assert TaskExecution.objects.count() == 1
        assert check_idempotency_status(value)["executed"]


@pytest.mark.parametrize("shift", range(3))
def test_of_an_endless_failure_both_ends_are_kept_and_no_part_of_a_secret(shift: int) -> None:
    """A text that is cut before its secrets are taken out may end with half of one."""

    @idempotent_task(redact=("iban",))
    def quote(iban: str) -> None:
        raise ValueError("begins" + "x" * shift + iban * 200_000 + "ends")

    with pytest.raises(ValueError):  # noqa: PT011
        quote("DE89370400440532013000")
    row = TaskExecution.objects.get()
    event = row.events.get()
    for text, most in ((row.error, 2000), (event.reason, 2000), (event.traceback, 100_000)):
        assert most - 60 < len(text) <= most
        assert "begins" in text
        assert "ends" in text[-10:]
        assert "3704" not in text
        cut = re.search(r" \[… ([\d,]+) characters left out …\] ", text)
        assert cut is not None
        kept = len(text) - len(cut[0])
        assert 0 <= int(cut[1].replace(",", "")) + kept - len("[redacted]") * 200_000 < 2000
    assert event.traceback.startswith("Traceback")


@pytest.mark.parametrize(
    "value", [v for v in HOSTILE.values() if not isinstance(v, float)], ids=lambda v: repr(v)[:20]
)
def test_as_a_result(value: Any) -> None:
    first = echo(value)
    assert echo(value) == first == value
    assert Effect.objects.count() == 1


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_in_a_message(inbox: Inbox, value: Any) -> None:
    echo.delay(value)
    echo.delay(value)
    first, second = inbox.take().run(), inbox.take().run()
    if isinstance(value, float):
        assert isinstance(first, UnstorableResult)
        return
    assert first == second == value
    assert Effect.objects.count() == 1


@pytest.mark.parametrize("text", ["i" * 1000, "a\x00b", "'; --"])
def test_as_a_tasks_id(inbox: Inbox, text: str) -> None:
    echo.delay(1)
    assert inbox.take(id=text, root_id=text).run() == 1
    assert echo(1) == 1
    assert len(TaskExecution.objects.get().task_id) <= 255


def test_an_exception_that_cannot_be_described_is_recorded_all_the_same() -> None:
    @idempotent_task()
    def task() -> None:
        raise Unspeakable

    with pytest.raises(Unspeakable):
        task()
    row = TaskExecution.objects.get()
    assert row.state == State.FAILED
    assert "Unspeakable" in row.error
    assert "Unspeakable" in ExecutionEvent.objects.get().traceback


def test_a_key_cannot_break_out_of_its_query(session: Callable[[], psycopg.Connection]) -> None:
    """Also on a connection with the settings that change how text is quoted."""
    with connection.cursor() as cursor:
        cursor.execute("set standard_conforming_strings = off; set backslash_quote = on")
    try:
        for value in HOSTILE.values():
            fine = idempotent_task(key=lambda value: [repr(value)])(lambda value: None)
            fine(value)
            fine(value)
    finally:
        connection.close()
    count = session().execute("select count(*) from ledger_taskexecution").fetchone()
    assert count == (len(HOSTILE),)


class TestArgumentsForPeople:
    def test_redacted_values_are_hashed_but_not_stored(self) -> None:
        @idempotent_task(redact=("iban", "pins"))
        def transfer(iban: str, amount: int, *pins: int) -> str:
            return "done"

        transfer("DE02120300000000202051", 100, 1234)
        transfer("DE02500105170137075030", 100, 1234)
        assert TaskExecution.objects.count() == 2
        for row in TaskExecution.objects.all():
            assert row.arguments == {"iban": "[redacted]", "amount": 100, "pins": "[redacted]"}
        with connection.cursor() as cursor:
            cursor.execute(
                "select count(*) from ledger_taskexecution e where e::text ~ 'DE02|1234'"
            )
            assert cursor.fetchone() == (0,)

    def test_a_single_redacted_name_need_not_be_a_tuple(self) -> None:
        @idempotent_task(redact="password")  # type: ignore[arg-type]
        def login(user: str, password: str) -> None: ...

        login("ana", "secret")
        assert TaskExecution.objects.get().arguments == {"user": "ana", "password": "[redacted]"}

    def test_arguments_too_large_to_keep_are_counted(self, settings: Settings) -> None:
        settings.LEDGER = {"MAX_ARGUMENT_BYTES": 50}
        echo("x" * 51)
        assert TaskExecution.objects.get().arguments == {"(not kept)": "64 bytes"}

    def test_what_json_cannot_say_is_said_in_text(self) -> None:
        @idempotent_task()
        def task(*values: Any) -> None: ...

        task(Decimal("1.50"), dt.date(2026, 11, 30), {3, 1, 2}, Effect(pk=7), float("nan"))
        assert TaskExecution.objects.get().arguments == {
            "values": ["1.50", "2026-11-30", [1, 2, 3], "testapp.effect:7", "nan"]
        }
