"""``manage.py ledger report``: for people, for spreadsheets and for programs."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.db import connection

from ledger.reporting import formats
from ledger.reporting.reports import REPORTS
from tests.ledger.marks import commits
from tests.ledger.test_command import ledger, refused
from tests.reporting.month import PAYROLL, TRANSFER

pytestmark = [commits, pytest.mark.usefixtures("month")]

NOVEMBER = ["--since", "2026-11-01", "--until", "2026-12-01"]


def report(name: str, *options: str) -> str:
    return ledger("report", name, *(NOVEMBER if REPORTS[name].has_range else []), *options)


@pytest.mark.parametrize("name", REPORTS)
def test_the_three_formats_have_the_same_rows(name: str) -> None:
    lines = report(name).splitlines()
    cells = list(csv.reader(io.StringIO(report(name, "--format", "csv"))))
    objects = json.loads(report(name, "--format", "json"))
    assert len(lines) - 2 == len(cells) - 1 == len(objects) > 0
    assert lines[0].split() == cells[0] == list(objects[0])


def test_a_table_is_aligned() -> None:
    head, rule, *rows = report("history").splitlines()
    starts = [head.index(f" {name}") + 1 for name in ("task_name", "state", "worker")]
    assert all(row[start - 2 : start] == "  " for row in (rule, *rows) for start in starts[:1])
    assert len({len(row.split(PAYROLL)[0]) for row in rows if PAYROLL in row}) == 1


def test_it_can_be_of_one_task() -> None:
    found = json.loads(report("history", "--task", TRANSFER, "--format", "json"))
    assert {row["task_name"] for row in found} == {TRANSFER}
    nothing = ("history", "--task", TRANSFER, "--until", "2026-11-02", "--since", "2026-11-01")
    assert report(*nothing) == "Nothing.\n"
    assert json.loads(report(*nothing, "--format", "json")) == []
    assert report("open", "--task", "has.not.run") == "Nothing.\n"


@pytest.mark.parametrize(
    ("since", "until", "ids"),
    [
        ("2026-11-28", "2026-11-28", [7, 11]),
        ("2026-11-28T15:02", "2026-11-29", [11, 12]),
        ("2026-11-28", "2026-11-28T23:00", [7]),
        ("2026-11-28T14:01:00Z", "2026-11-28T22:00:00.1+00:00", [7, 11]),
    ],
)
def test_a_day_counts_whole_and_a_time_exactly(since: str, until: str, ids: list[int]) -> None:
    found = json.loads(
        ledger("report", "history", "--since", since, "--until", until, "--format", "json")
    )
    assert [row["execution_id"] for row in found] == ids


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["history", "--since", "yesterday"], "--since 'yesterday' is no time: write a day"),
        (["history", "--until", "2026-13-01"], "--until '2026-13-01' is no time"),
        (["daily", "--since", "2026-11-02", "--until", "2026-11-01"], "is not before --until"),
        (["open", "--since", "2026-11-01"], "leave out --since and --until"),
        (["tasks", "--task", "mistyped"], "No execution here is of 'mistyped': give the task's"),
        (["everything"], "invalid choice"),
        (["daily", "--format", "xml"], "invalid choice"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(arguments: list[str], problem: str) -> None:
    assert problem in refused("report", *arguments)


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a,b", 'a"b', "a\nb", "💶", "\x1b[2J"]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_is_a_formula_or_moves_the_cursor(value: str) -> None:
    def written(format: str) -> str:
        out = io.StringIO(newline="")
        formats.FORMATS[format](["value", "number"], [(value, -1)], out)
        return out.getvalue()

    [_, row] = csv.reader(io.StringIO(written("csv"), newline=""))
    assert row == [f"'{value}" if value[0] in "=+-@\t\r" else value, "-1"]
    assert json.loads(written("json")) == [{"value": value, "number": -1}]
    assert len(written("table").splitlines()) == 3
    assert written("table").replace("\n", "").isprintable()


def test_a_hostile_reason_in_the_ledger_is_harmless_in_a_spreadsheet() -> None:
    with connection.cursor() as cursor:
        cursor.execute("select key from ledger_run_history where execution_id = 6")
        cursor.execute("select ledger_retire(%s, '', '=1+1')", cursor.fetchone())
        cursor.execute("set session_replication_role = replica")
        cursor.execute("update ledger_taskexecution set retired_reason = '=1+1' where id = 6")
        cursor.execute("reset session_replication_role")
    rows = csv.DictReader(io.StringIO(report("history", "--format", "csv")))
    assert "'=1+1" in [row["retired_reason"] for row in rows]


def test_a_large_report_is_written_as_it_comes() -> None:
    """Nothing holds all rows: the first is out before the last is made."""
    written: list[str] = []

    class Out:
        def write(self, text: str, /) -> Any:
            written.append(text)

    def rows() -> Any:
        for number in range(5_000):
            if number == 4_999:
                assert len(written) > 4_000
            yield (number, "x")

    for write in formats.FORMATS.values():
        written.clear()
        write(["number", "text"], rows(), Out())
