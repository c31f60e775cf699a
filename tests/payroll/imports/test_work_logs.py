import csv
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from payroll.imports import BadFile, Counts, WorkLogImport, import_file
from payroll.imports.run import BATCH
from payroll.models import Employee, WorkLog
from tests.payroll.factories import EmployeeFactory, WorkLogFactory

pytestmark = pytest.mark.django_db

HEADER = "employee_number,check_in,check_out,time_zone\n"
GOOD = "E1,2025-10-06T08:00+02:00,2025-10-06T16:00+02:00,Europe/Berlin\n"


@pytest.fixture(autouse=True)
def someone() -> Employee:
    return EmployeeFactory.create(number="E1")


def imported(path: Path, text: str | bytes, **options: Any) -> tuple[Counts, list[tuple[int, str]]]:
    """What came of a file of that text, and which lines were rejected and why."""
    file = path / "work_logs.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    rejected: list[tuple[int, str]] = []
    counts = import_file(
        file,
        WorkLogImport(),
        rejected=lambda line, reason: rejected.append((line, str(reason))),
        **options,
    )
    return counts, rejected


def test_a_log_is_stored_as_the_instants_it_was_punched_at(tmp_path: Path) -> None:
    counts, rejected = imported(tmp_path, HEADER + GOOD)

    log = WorkLog.objects.get()
    assert (counts, rejected) == (Counts(added=1), [])
    assert log.check_in == datetime(2025, 10, 6, 6, tzinfo=UTC)
    assert log.check_out == datetime(2025, 10, 6, 14, tzinfo=UTC)
    assert (log.employee.number, log.time_zone) == ("E1", "Europe/Berlin")


def test_columns_may_come_in_any_order_after_a_byte_order_mark_and_with_crlf(
    tmp_path: Path,
) -> None:
    text = (
        "\ufefftime_zone,check_out,employee_number,check_in\r\n"
        '"Europe/Berlin",,E1, 2025-10-06T08:00 \r\n\r\n'
    )
    counts, rejected = imported(tmp_path, text)

    assert (counts, rejected) == (Counts(added=1), [])
    assert WorkLog.objects.get().check_in == datetime(2025, 10, 6, 6, tzinfo=UTC)


def test_the_same_file_twice_adds_nothing(tmp_path: Path) -> None:
    open_log = "E1,2025-10-07T08:00+02:00,,Europe/Berlin\n"
    imported(tmp_path, HEADER + GOOD + open_log)
    counts, _ = imported(tmp_path, HEADER + GOOD + open_log)

    assert counts == Counts(unchanged=2)
    assert WorkLog.objects.count() == 2


def test_a_row_that_stands_twice_in_a_file_is_imported_once(tmp_path: Path) -> None:
    in_utc = "E1,2025-10-06T06:00Z,2025-10-06T14:00+00:00,UTC\n"
    counts, _ = imported(tmp_path, HEADER + GOOD + GOOD + in_utc)

    assert counts == Counts(added=1, unchanged=2)
    assert WorkLog.objects.count() == 1


def test_a_later_file_completes_an_open_log(tmp_path: Path) -> None:
    imported(tmp_path, HEADER + "E1,2025-10-06T08:00+02:00,,Europe/Berlin\n")
    counts, _ = imported(tmp_path, HEADER + GOOD)

    assert counts == Counts(changed=1)
    assert WorkLog.objects.get().check_out == datetime(2025, 10, 6, 14, tzinfo=UTC)


def test_a_log_may_be_opened_and_completed_in_one_file(tmp_path: Path) -> None:
    counts, _ = imported(tmp_path, HEADER + "E1,2025-10-06T08:00+02:00,,Europe/Berlin\n" + GOOD)

    assert counts == Counts(added=1, changed=1)
    assert WorkLog.objects.get().check_out is not None


def test_an_open_row_does_not_reopen_a_log(tmp_path: Path) -> None:
    imported(tmp_path, HEADER + GOOD)
    counts, _ = imported(tmp_path, HEADER + "E1,2025-10-06T08:00+02:00,,Europe/Berlin\n")

    assert counts == Counts(unchanged=1)
    assert WorkLog.objects.get().check_out is not None


def test_another_end_for_a_log_that_has_one_is_rejected(tmp_path: Path) -> None:
    imported(tmp_path, HEADER + GOOD)
    counts, rejected = imported(tmp_path, HEADER + GOOD.replace("T16", "T17"))

    assert counts == Counts(rejected=1)
    ((line, reason),) = rejected
    assert line == 2
    assert "ends at 2025-10-06T14:00+0000, not at 2025-10-06T15:00+0000" in reason
    assert WorkLog.objects.get().check_out == datetime(2025, 10, 6, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("E2,2025-10-06T08:00,,UTC", "employee_number 'E2' is not known: import the employee"),
        (",2025-10-06T08:00,,UTC", "employee_number is empty"),
        ("E1,,,UTC", "check_in is empty"),
        ("E1,yesterday,,UTC", "check_in 'yesterday' is not a time: write it as 2025-"),
        ("E1,2025-10-06,,UTC", "check_in '2025-10-06' is not a time"),
        ("E1,2025-02-30T08:00,,UTC", "check_in '2025-02-30T08:00' is not a time"),
        ("E1,0001-01-01T00:00+05:00,,UTC", "is not in a year from 1970"),
        ("E1,9999-12-31T23:00-05:00,,UTC", "is not in a year from 1970"),
        ("E1,2025-10-06T08:00,2025-10-06T08:00,UTC", "is not after check_in"),
        ("E1,2025-10-06T08:00,2025-10-05T16:00,UTC", "is not after check_in"),
        ("E1,2025-10-06T08:00,2025-10-07T08:01,UTC", "more than 24 hours after check_in"),
        ("E1,2025-10-06T08:00,,Mars/Olympus", "Mars/Olympus is not a time zone: give an IANA"),
        ("E1,2025-10-06T08:00,,../../etc/passwd", "is not a time zone"),
        ("E1,2025-10-06T08:00,,", "time_zone is empty"),
        ("E1,2025-10-26T02:30,,Europe/Berlin", "happens twice in Europe/Berlin"),
        ("E1,2025-03-30T02:30,,Europe/Berlin", "does not happen in Europe/Berlin"),
        ("E\x00,2025-10-06T08:00,,UTC", "has characters that cannot be printed"),
        ("E1,2025-10-06T08:00", "has 2 cells instead of 4"),
        ("E1,2025-10-06T08:00,,UTC,more", "has 5 cells instead of 4"),
        ('E1,"2025-10-06T08:00"x,,UTC', "is not CSV"),
        ("=1+1,2025-10-06T08:00,,UTC", "employee_number '=1+1' is not known"),
    ],
)
def test_a_bad_row_is_reported_with_its_line_and_reason_and_the_others_imported(
    tmp_path: Path, row: str, reason: str
) -> None:
    later = GOOD.replace("-06T", "-07T")
    counts, rejected = imported(tmp_path, HEADER + GOOD + row + "\n" + later)

    assert counts == Counts(added=2, rejected=1)
    ((line, why),) = rejected
    assert line == 3
    assert reason in why


def test_a_row_after_a_cell_of_many_lines_is_reported_with_its_own_line(tmp_path: Path) -> None:
    text = HEADER + 'E1,"2025\n-10-06",,UTC\n' + "E2,2025-10-06T08:00,,UTC\n"
    _, rejected = imported(tmp_path, text)

    assert [line for line, _ in rejected] == [2, 4]


def test_a_strict_import_stops_at_the_first_bad_row_and_imports_nothing(tmp_path: Path) -> None:
    many = "".join(
        f"E1,2025-10-{n // 1000 + 1:02}T{n % 1000 // 60:02}:{n % 60:02},,UTC\n"
        for n in range(BATCH + 10)
    )
    with pytest.raises(BadFile, match=rf"line {BATCH + 12}: employee_number 'E2' is not known"):
        imported(tmp_path, HEADER + many + "E2,2025-10-06T08:00,,UTC\n" + GOOD, strict=True)

    assert not WorkLog.objects.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "is empty: the first line must be employee_number,check_in"),
        (b"\n", "lacks 'employee_number'"),
        (b"employee_number;check_in;check_out;time_zone\n", "separated by semicolons"),
        (b"employee_number\tcheck_in\tcheck_out\ttime_zone\n", "separated by tabs"),
        (b"employee_number,check_in,check_out\n", "lacks 'time_zone'"),
        (
            b"employee_number,check_in,check_out,time_zone,note\n",
            "has unknown 'note'",
        ),
        (
            b"employee_number,check_in,check_in,check_out,time_zone\n",
            "repeats 'check_in'",
        ),
        (b"number,in\n", "lacks 'employee_number', 'check_in', 'check_out', 'time_zone' and has"),
        (HEADER.encode("utf-16"), "line 1 is not UTF-8"),
        ((HEADER + GOOD).encode() + b"M\xfcller,,,\n", r"line 3 is not UTF-8 \(byte 2\)"),
        ((HEADER + GOOD + 'E1,"2025-10-06\n' + GOOD).encode(), "line 3: a quoted cell begins"),
        ((HEADER + GOOD + '"' + "x" * 200_000 + "\n" + GOOD).encode(), "does not end"),
        (HEADER.encode() + b"x" * (1 << 21), "line 2 is longer than a MiB"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_not_imported_at_all(
    tmp_path: Path, text: bytes, complaint: str
) -> None:
    with pytest.raises(BadFile, match=complaint):
        imported(tmp_path, text)
    assert not WorkLog.objects.exists()


def test_a_header_alone_imports_nothing(tmp_path: Path) -> None:
    assert imported(tmp_path, HEADER) == (Counts(), [])


@pytest.mark.parametrize(
    ("name", "complaint"), [("no such.csv", "No such file"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(BadFile, match=f"cannot be read: {complaint}"):
        import_file(tmp_path / name, WorkLogImport())


def test_a_file_is_imported_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the rows do not take more memory."""
    monkeypatch.setattr("payroll.imports.run.BATCH", 100)

    def peak(rows: int) -> int:
        file = tmp_path / f"{rows}.csv"
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([HEADER.strip().split(","), *logs(rows)])
        tracemalloc.start()
        import_file(file, WorkLogImport())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    def logs(rows: int) -> Iterable[list[str]]:
        start = datetime(2000, 1, 1)
        for n in range(rows):
            yield ["E1", f"{start + timedelta(hours=n):%Y-%m-%dT%H:%M}", "", "UTC"]

    peak(10)  # what is allocated once
    few = peak(300)
    assert peak(3000) < few * 1.3


@pytest.mark.django_db(transaction=True)
def test_another_import_waits_and_then_finds_the_rows_there(
    tmp_path: Path, second_session: Any
) -> None:
    """Without that, two imports at once would both add the row, and one would break."""
    waits = "SELECT 1 FROM pg_locks WHERE relation = 'payroll_worklog'::regclass AND mode = %s"
    seen: list[bool] = []

    class Watched(WorkLogImport):
        def write(self, rows: Any) -> Any:
            seen.append(second_session(waits, ("ShareRowExclusiveLock",)))
            return super().write(rows)

    file = tmp_path / "work_logs.csv"
    file.write_text(HEADER + GOOD)
    import_file(file, Watched())
    assert seen == [True]


def test_logs_of_others_at_the_same_time_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    other = EmployeeFactory.create(number="E2")
    WorkLogFactory.create(employee=other, day=date(2025, 10, 6), hours=1)
    counts, _ = imported(tmp_path, HEADER + GOOD)

    assert counts == Counts(added=1)
    assert WorkLog.objects.count() == 2
