from pathlib import Path

import pytest

from payroll.models import WorkLog
from tests.payroll.factories import EmployeeFactory
from tests.payroll.manage import Manage

pytestmark = pytest.mark.django_db

HEADER = "employee_number,check_in,check_out,time_zone\n"
GOOD = "E1,2025-10-06T08:00,2025-10-06T16:00,Europe/Berlin\n"
BAD = "E9,2025-10-06T08:00,2025-10-06T16:00,Europe/Berlin\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    EmployeeFactory.create(number="E1")
    return tmp_path / "work_logs.csv"


def test_an_import_ends_with_a_table(manage: Manage, file: Path) -> None:
    file.write_text(HEADER + GOOD)
    run = manage("import_worklogs", file)

    assert run.status == 0
    assert run.table == {"work logs": ["1", "0", "0", "0"]}


def test_rejected_rows_are_named_and_the_exit_status_says_so(manage: Manage, file: Path) -> None:
    file.write_text(HEADER + BAD + GOOD)
    run = manage("import_worklogs", file)

    assert run.status == 2
    assert run.table == {"work logs": ["1", "0", "0", "1"]}
    assert f"{file}, line 2: employee_number 'E9' is not known" in run.err
    assert "1 rows were rejected, the others are imported" in run.err
    assert WorkLog.objects.count() == 1


def test_a_strict_import_names_the_first_bad_row_and_imports_nothing(
    manage: Manage, file: Path
) -> None:
    file.write_text(HEADER + GOOD + BAD + BAD)
    run = manage("import_worklogs", file, "--strict")

    assert run.status == 1
    assert "line 3: employee_number 'E9' is not known" in run.err
    assert "Nothing was imported." in run.err
    assert "line 4" not in run.err
    assert not WorkLog.objects.exists()


@pytest.mark.parametrize("command", ["import_worklogs", "import_employees", "import_pay_policies"])
def test_a_missing_file_is_a_clear_error(manage: Manage, tmp_path: Path, command: str) -> None:
    run = manage(command, tmp_path / "nowhere.csv")
    assert (run.status, run.out) == (1, "")
    assert run.err == f"{tmp_path / 'nowhere.csv'} cannot be read: No such file or directory."


def test_progress_is_shown_on_a_terminal_and_not_with_verbosity_0(
    manage: Manage,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    file.write_text(HEADER + GOOD)
    manage("import_worklogs", file)
    assert "Importing work_logs.csv" in capsys.readouterr().err

    manage("import_worklogs", file, verbosity=0)
    assert capsys.readouterr().err == ""
