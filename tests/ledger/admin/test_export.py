"""Any filtered list as a file that a spreadsheet opens, and in which nothing is a formula."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import zipfile
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger import idempotent_task
from ledger.admin import export
from ledger.models import TaskExecution
from tests.ledger.admin.conftest import Staff
from tests.ledger.admin.site import LIST, listed, told, unguarded

pytestmark = pytest.mark.django_db

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    '=cmd|" /C calc"!A0',
    "a;=1",
    ";-1",
    "a,+1",
]


@idempotent_task()
def pay(employee: int, note: str = "") -> dict[str, Any]:
    return {"employee": employee, "note": note}


@idempotent_task()
def say(text: str) -> str:
    return text


def table(client: Client, **query: str) -> list[dict[str, str]]:
    """A CSV file, read back as one reads it."""
    response = client.get(f"{LIST}export.csv", query)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert re.search(r'filename="executions-\d{4}-\d\d-\d\d\.csv"', response["Content-Disposition"])
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(text, newline="")))


def cells(client: Client, **query: str) -> str:
    """An XLSX file's one sheet, as its XML."""
    response = client.get(f"{LIST}export.xlsx", query)
    assert response.status_code == 200
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert "xl/externalLinks" not in str(book.namelist())
        return book.read("xl/worksheets/sheet1.xml").decode()


class TestCSV:
    def test_every_row_with_all_that_the_list_shows(self, admin_client: Client) -> None:
        pay(1)
        pay(1)
        pay(2, "ü👩‍👩‍👧‍👦")
        second, first = table(admin_client)
        row = TaskExecution.objects.earliest("id")
        assert first["execution"] == str(row.pk)
        assert (first["state"], first["key"], first["worker"]) == (row.state, row.key, row.worker)
        assert first["duplicates answered"] == "1"
        assert dt.datetime.fromisoformat(first["claimed"]) == row.claimed_at
        assert float(first["seconds"]) > 0
        assert first["result"] == '{"employee": 1, "note": ""}'
        assert '"ü👩‍👩‍👧‍👦"' in second["arguments"]

    def test_it_is_filtered_and_searched_as_the_list_is(self, admin_client: Client) -> None:
        pay(1)
        pay(2)
        say("x")
        assert len(table(admin_client)) == 3
        assert len(table(admin_client, task=f"{__name__}.pay")) == 2
        assert len(table(admin_client, q="employee=2")) == 1
        assert len(table(admin_client, p="older-1")) == 3  # a page of the list is no filter
        page = listed(admin_client, task=f"{__name__}.pay")
        assert f'href="{LIST}export.csv?task={__name__}.pay"' in page
        response = admin_client.get(f"{LIST}export.csv", {"state": "nonsense"})
        assert response["Location"] == f"{LIST}?e=1"
        assert admin_client.get(f"{LIST}export.csv", {"worker": "x"}).status_code == 400

    @pytest.mark.parametrize("text", FORMULAS)
    def test_nothing_is_a_formula(self, admin_client: Client, text: str) -> None:
        say(text)
        with unguarded():
            TaskExecution.objects.update(worker=text)
        (row,) = table(admin_client)
        assert row["worker"].replace("'", "") == text
        for cell in row.values():
            for part in re.split(r"[;,\t\r\n]", cell):  # whatever the spreadsheet separates by
                assert not part.startswith(("=", "+", "-", "@"))

    def test_it_is_read_some_hundred_at_a_time(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "CHUNK", 3)
        for employee in range(8):
            pay(employee)
        with CaptureQueriesContext(connection) as queries:
            rows = table(admin_client)
        assert [row["execution"] for row in rows] == sorted(
            (row["execution"] for row in rows), key=int, reverse=True
        )
        assert len(rows) == 8
        read = [q["sql"] for q in queries if "LEFT(" in q["sql"]]
        assert len(read) == 3
        assert all("LIMIT 4" in sql for sql in read)

    def test_what_is_too_much_for_a_file_is_said(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "MOST_ROWS", 2)
        for employee in range(3):
            pay(employee)
        response = admin_client.get(f"{LIST}export.csv?state=completed", follow=True)
        assert response.redirect_chain == [(f"{LIST}?state=completed", 302)]
        assert "Choose a date or a task" in told(response)
        pay(99)
        assert len(table(admin_client, q="employee=99")) == 1

    def test_values_are_for_those_who_may_see_them(self, staff: Staff) -> None:
        pay(4711)
        (row,) = table(staff())
        assert not {"arguments", "result", "error"} & set(row)
        (row,) = table(staff("can_view_values", name="other"))
        assert "4711" in row["result"]


class TestXLSX:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("xlsxwriter", reason="pip install 'django-task-ledger[export]'")

    def test_times_are_times_and_numbers_numbers(self, admin_client: Client) -> None:
        pay(7)
        row = TaskExecution.objects.get()
        sheet = cells(admin_client)
        local = timezone.localtime(row.claimed_at).replace(tzinfo=None)
        serial = (local - dt.datetime(1899, 12, 30)) / dt.timedelta(days=1)
        times = [float(number) for number in re.findall(r"<v>(4\d{4}\.\d+)</v>", sheet)]
        assert any(abs(serial - time) < 1e-6 for time in times)
        assert f">claimed ({timezone.get_current_timezone_name()})<" in sheet
        assert f"<v>{row.pk}</v>" in sheet
        assert row.key in sheet

    @pytest.mark.parametrize("text", [*FORMULAS, "https://evil.example", "mailto:a@b"])
    def test_nothing_is_a_formula_or_a_link(self, admin_client: Client, text: str) -> None:
        say(text)
        with unguarded():
            TaskExecution.objects.update(worker=text)
        sheet = cells(admin_client)
        assert "<f>" not in sheet
        assert "<hyperlink" not in sheet
        assert sheet.count('t="inlineStr"') > 20

    def test_values_are_for_those_who_may_see_them(self, staff: Staff) -> None:
        pay(4711)
        assert "4711" not in re.sub(r"[0-9a-f]{64}", "", cells(staff()))
        assert "&quot;employee&quot;" in cells(staff("can_view_values", name="o")).replace(
            '"employee"', "&quot;employee&quot;"
        )


def test_without_the_library_there_is_no_xlsx(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "FORMATS", ["csv"])
    assert "export.xlsx" not in listed(admin_client)
    assert admin_client.get(f"{LIST}export.xlsx").status_code == 404
    assert admin_client.get(f"{LIST}export.pdf").status_code == 404
