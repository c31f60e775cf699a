"""``manage.py ledger tasks``: which tasks are under the ledger, how, and why the others are not."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from celery import Celery
from django.core.management import CommandError, call_command
from pytest_django import Settings

from ledger import idempotent_task, non_idempotent
from tests.ledger.checks.conftest import app  # noqa: F401


@pytest.fixture(autouse=True)
def tasks(app: Celery, settings: Settings) -> None:  # noqa: F811
    settings.LEDGER = {"IGNORE_TASKS": ["others.*"]}

    def year_of(employee: int, month: str) -> str:
        return month[:4]

    @app.task(name="a.pay")
    @idempotent_task(ttl_hours=1.5, key=("employee", "month"), period="week")
    def pay(employee: int, month: str, note: str = "") -> None: ...

    @app.task(name="a.report")
    @idempotent_task(ttl_hours=None, key=year_of, guarantee="at_least_once")
    def report(employee: int, month: str) -> None: ...

    @app.task(name="a.sync")
    @idempotent_task()
    def sync() -> None: ...

    @app.task(name="a.look")
    @non_idempotent("only reads")
    def look() -> None: ...

    @app.task(name="a.forgotten")
    def forgotten() -> None: ...

    @app.task(name="others.mail")
    def mail() -> None: ...


def ledger_tasks(*options: str) -> str:
    out = StringIO()
    call_command("ledger", "tasks", *options, stdout=out)
    return out.getvalue()


def test_the_table_has_a_line_for_every_task_under_the_ledger() -> None:
    lines = [line for line in ledger_tasks().splitlines() if line.startswith(("TASK ", "a."))]
    columns = [" ".join(line.split()) for line in lines]
    assert columns[0] == "TASK GUARANTEE KEY TTL PERIOD"
    assert "a.pay exactly_once employee, month 1.5 h week" in columns
    assert "a.report at_least_once year_of() for ever -" in columns
    assert "a.sync exactly_once all arguments 24 h -" in columns
    start = lines[0].index("GUARANTEE")
    assert {line[start - 2 : start] for line in lines if "_once" in line} == {"  "}


def test_the_others_follow_with_the_reason() -> None:
    lines = ledger_tasks().splitlines()
    assert "a.look: only reads" in lines
    assert 'others.mail: listed in LEDGER["IGNORE_TASKS"]' in lines
    (forgotten,) = [line for line in lines if line.startswith("a.forgotten")]
    assert forgotten.startswith("a.forgotten: NOBODY DECIDED about tests/ledger/commands/")


def test_programs_get_the_same_as_json() -> None:
    rows: dict[str, dict[str, Any]] = {
        row.pop("task"): row for row in json.loads(ledger_tasks("--format", "json"))
    }
    places = {name: rows[name].pop("place") for name in ("a.pay", "a.report", "a.look")}
    assert all(
        place.startswith("tests/ledger/commands/test_tasks.py:") for place in places.values()
    )
    assert rows["a.pay"] == {
        "guarantee": "exactly_once",
        "key": "employee, month",
        "ttl_hours": 1.5,
        "period": "week",
        "why_not": None,
    }
    assert rows["a.report"]["ttl_hours"] is None
    nothing = dict.fromkeys(("guarantee", "key", "ttl_hours", "period"))
    assert rows["a.look"] == {**nothing, "why_not": "only reads"}
    assert rows["a.forgotten"]["why_not"] is None


def test_they_are_counted() -> None:
    last = ledger_tasks().splitlines()[-1]
    under, left_out, undecided = (int(part.split()[0]) for part in last.rstrip(".").split(", "))
    rows = json.loads(ledger_tasks("--format", "json"))
    assert under == sum(row["guarantee"] is not None for row in rows)
    assert left_out == sum(row["why_not"] is not None for row in rows)
    assert under + left_out + undecided == len(rows)
    assert undecided >= 1


def test_a_table_without_those_that_cannot_be_imported_is_refused(app: Celery) -> None:  # noqa: F811
    app.conf.imports = ["tests.no_such_module"]
    with pytest.raises(CommandError, match=r"tests\.no_such_module"):
        ledger_tasks()
