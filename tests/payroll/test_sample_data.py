"""The generated company: it is what its seed makes, and it is paid what a second account says."""

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

import payroll.sample_data
from payroll.models import Employee, WorkLog
from payroll.months import Month
from payroll.services import calculate, gather

SAMPLE = Path(payroll.sample_data.__file__).parent
FILES = ["pay_policies.csv", "employees.csv", "work_logs.csv"]


def rows(name: str) -> list[dict[str, str]]:
    with (SAMPLE / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_seed_makes_the_files_again_byte_for_byte(tmp_path: Path) -> None:
    call_command("generate_sample_data", output=tmp_path, seed=2025, verbosity=0)

    for name in FILES:
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), name


def test_another_seed_makes_another_company(tmp_path: Path) -> None:
    call_command("generate_sample_data", output=tmp_path, seed=7, verbosity=0)

    assert (tmp_path / "work_logs.csv").read_bytes() != (SAMPLE / "work_logs.csv").read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CommandError, match="cannot be written: File exists"):
        call_command("generate_sample_data", output=file)


def test_the_company_has_what_makes_payroll_hard() -> None:
    employees, logs = rows("employees.csv"), rows("work_logs.csv")
    hired = {e["number"]: date.fromisoformat(e["hired_on"]) for e in employees}

    assert len(hired) == 250
    assert all(day <= date(2025, 10, 31) for day in hired.values())
    assert any(e["left_on"] for e in employees)
    assert len(employees) > 250  # raises
    assert sum(not log["check_out"] for log in logs) > 20
    for before, after in (("+02:00", "+01:00"), ("-04:00", "-05:00"), ("-07:00", "-08:00")):
        over_the_change = [
            log
            for log in logs
            if log["check_in"].endswith(before) and log["check_out"].endswith(after)
        ]
        assert over_the_change, (before, after)
    assert sum((SAMPLE / name).stat().st_size for name in FILES) < 2_000_000


@pytest.mark.django_db
def test_everybody_is_paid_what_the_second_account_says() -> None:
    """For both months: to the cent, and with as many minutes, from the same CSV files."""
    for command, name in zip(
        ("import_pay_policies", "import_employees", "import_worklogs"), FILES, strict=True
    ):
        call_command(command, SAMPLE / name, verbosity=0, strict=True)
    assert (Employee.objects.count(), WorkLog.objects.count()) == (250, len(rows(FILES[2])))
    stage_csv_files()

    for month, people in ((Month(2025, 10), 250), (Month(2025, 11), 248)):
        second_account = recomputed(month)
        paid = {}
        for employee in Employee.objects.employed_in(month):
            pay = calculate(gather(employee.pk, month))
            paid[employee.number] = (
                employee.currency,
                pay.minutes,
                pay.gross,
                pay.withholding,
                pay.net,
            )
        assert len(paid) == people
        assert paid == second_account


def stage_csv_files() -> None:
    with connection.cursor() as cursor:
        for name in FILES:
            text = (SAMPLE / name).read_text()
            table = f"csv_{name.removesuffix('.csv')}"
            columns = ", ".join(f"{column} text" for column in text.splitlines()[0].split(","))
            cursor.execute(f"CREATE TEMP TABLE {table} ({columns}) ON COMMIT DROP")
            with cursor.copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy:
                copy.write(text)


def recomputed(month: Month) -> dict[str, tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            (SAMPLE / "recompute.sql").read_text(),
            {"first_day": month.first_day, "last_day": month.last_day},
        )
        found = cursor.fetchall()
    assert all(isinstance(row[5], Decimal) for row in found)
    return {row[0]: row[1:] for row in found}
