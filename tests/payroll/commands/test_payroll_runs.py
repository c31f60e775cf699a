"""What the three commands have in common: whom they are about, what they refuse, how they end."""

from datetime import date
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import InternalError
from django.utils import timezone

from payroll.models import Employee, Payslip
from payroll.services import gather, post_payslip
from tests.payroll.company import OCTOBER, Books, books, employee_with_week
from tests.payroll.factories import EmployeeFactory, WorkLogFactory
from tests.payroll.manage import Manage

pytestmark = pytest.mark.django_db(transaction=True)

HERE = ("bulk_calculate_payroll", "--no-parallel")
MISSING = ("generate_missing_payroll",)
AGAIN = ("recalculate_monthly_payroll",)
ALL = pytest.mark.parametrize("command", [HERE, MISSING, AGAIN], ids=lambda c: c[0])
MONTH = ("--year", 2025, "--month", 10)


@pytest.fixture
def company() -> list[Employee]:
    """Three employees with a week of work each; nothing is posted."""
    return [employee_with_week() for _ in range(3)]


def all_rows() -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the project's tables hold."""
    return {
        model._meta.db_table: list(model._default_manager.order_by("pk").values_list())
        for model in apps.get_models()
    }


@pytest.mark.parametrize("command", [HERE, MISSING], ids=lambda c: c[0])
def test_a_run_pays_everybody_once_however_often_it_is_repeated(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    first = manage(*command, *MONTH)
    second = manage(*command, *MONTH)

    assert first.table["done"] == ["3", "1800.00 EUR"]
    assert second.counts == {"done": 0, "skipped": 3, "failed": 0}
    assert (first.status, second.status) == (0, 0)
    assert books() == Books(payslips=3, journal_entries=3, payments=3)


@pytest.mark.parametrize("command", [HERE, MISSING], ids=lambda c: c[0])
def test_a_run_is_about_those_it_is_told(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    ids = f"{company[2].pk},{company[0].pk},{company[2].pk}"
    run = manage(*command, *MONTH, "--employees", ids)

    assert run.counts == {"done": 2, "skipped": 0, "failed": 0}
    assert {p.employee for p in Payslip.objects.all()} == {company[0], company[2]}


@pytest.mark.parametrize("command", [HERE, MISSING], ids=lambda c: c[0])
def test_one_who_fails_does_not_keep_the_others_from_being_paid(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    company[1].hourly_rates.all().delete()
    run = manage(*command, *MONTH)

    assert run.status == 1
    assert run.counts == {"done": 2, "skipped": 0, "failed": 1}
    assert f"{company[1]} (id {company[1].pk}): {company[1]} worked on 2025-10-06" in run.err
    assert "1 of 3 employees failed" in run.err

    company[1].hourly_rates.create(valid_from=date(2025, 1, 1), amount=20)
    again = manage(*command, *MONTH)
    assert (again.status, again.counts) == (0, {"done": 1, "skipped": 2, "failed": 0})
    assert books() == Books(payslips=3, journal_entries=3, payments=3)


def test_an_error_nobody_thought_of_fails_one_employee_and_is_logged(
    manage: Manage,
    company: list[Employee],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def sometimes(employee_id: int, *args: Any, **options: Any) -> Any:
        if employee_id == company[0].pk:
            raise ZeroDivisionError("of all things")
        return gather(employee_id, *args, **options)

    monkeypatch.setattr(import_module("payroll.services.post_payslip"), "gather", sometimes)
    run = manage(*HERE, *MONTH)

    assert (run.status, run.counts) == (1, {"done": 2, "skipped": 0, "failed": 1})
    assert "ZeroDivisionError: of all things" in run.err
    assert "Traceback" in caplog.text


@ALL
def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    post_payslip(company[0].pk, OCTOBER)
    WorkLogFactory.create(employee=company[0], day=date(2025, 10, 13), hours=1)
    before = all_rows()
    run = manage(*command, *MONTH, "--dry-run")

    assert all_rows() == before
    assert "a dry run: this is what would be done, and nothing was written" in run.out
    assert run.status == 0
    if command == AGAIN:
        assert run.table == {"done": ["1", "15.00 EUR"], "skipped": ["0", ""], "failed": ["0", ""]}
    else:
        assert run.table["done"] == ["2", "1200.00 EUR"]
        assert run.counts == {"done": 2, "skipped": 1, "failed": 0}


def test_the_forecast_of_a_dry_run_comes_true(manage: Manage, company: list[Employee]) -> None:
    company[1].hourly_rates.all().delete()
    forecast = manage(*HERE, *MONTH, "--dry-run")
    run = manage(*HERE, *MONTH)

    assert forecast.table == run.table
    assert forecast.status == run.status == 1


@ALL
def test_the_database_itself_refuses_to_write_in_a_dry_run(
    manage: Manage,
    company: list[Employee],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    post_payslip(company[0].pk, OCTOBER)

    def careless(employee_id: int, *args: Any, **options: Any) -> Any:
        Employee.objects.update(name="somebody else")
        return gather(employee_id, *args, **options)

    monkeypatch.setattr("payroll.management.payroll_command.gather", careless)
    with pytest.raises(InternalError, match="read-only transaction"):
        manage(*command, *MONTH, "--dry-run")


@ALL
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--year", 2025, "--month", 13), "2025, 13 is not a month: give a year from 1970"),
        (("--year", 2025, "--month", 0), "is not a month"),
        (("--year", 25, "--month", 10), "is not a month"),
        (("--year", 2199, "--month", 12), "2199-12 is not over yet: run its payroll on 2200-01-01"),
        ((*MONTH, "--employees", "1,x"), "'1,x' is not a list of ids: write 1,2,3"),
        ((*MONTH, "--employees", ""), "'' is not a list of ids"),
        ((*MONTH, "--employees", "999998,999999"), "no employees with the ids 999998, 999999:"),
        (("--year", "soon", "--month", 10), "invalid int value: 'soon'"),
        (("--year", 2025), "arguments are required: --month"),
        (MONTH, "There is nobody to run this for in 2025-10."),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    manage: Manage,
    command: tuple[str, ...],
    arguments: tuple[Any, ...],
    complaint: str,
) -> None:
    run = manage(*command, *arguments)

    assert run.status == 1
    assert complaint in run.err
    assert books() == Books(0, 0, 0)


@ALL
def test_the_month_that_is_still_running_is_refused(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    today = timezone.localdate()
    run = manage(*command, "--year", today.year, "--month", today.month)

    assert run.status == 1
    assert "is not over yet: run its payroll on" in run.err


@ALL
def test_an_unknown_id_among_known_ones_runs_nobody(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    run = manage(*command, *MONTH, "--employees", f"{company[0].pk},999999")

    assert run.status == 1
    assert "no employees with the ids 999999: look the ids up in the admin. Nothing" in run.err
    assert books() == Books(0, 0, 0)


@ALL
def test_somebody_who_was_not_employed_is_named(
    manage: Manage, company: list[Employee], command: tuple[str, ...]
) -> None:
    later = EmployeeFactory.create(hired_on=date(2025, 11, 1))
    run = manage(*command, *MONTH, "--employees", f"{company[0].pk},{later.pk}")

    assert run.status == 1
    assert f"Not employed in 2025-10: {later} (id {later.pk})" in run.err
    assert books() == Books(0, 0, 0)


def test_those_not_employed_are_left_out_when_nobody_is_named(
    manage: Manage, company: list[Employee]
) -> None:
    EmployeeFactory.create(hired_on=date(2025, 11, 1))
    assert manage(*HERE, *MONTH).counts == {"done": 3, "skipped": 0, "failed": 0}


def test_the_ledgers_every_day_lines_are_left_out_unless_asked_for(
    manage: Manage, company: list[Employee], caplog: pytest.LogCaptureFixture
) -> None:
    manage(*HERE, *MONTH, "--employees", company[0].pk)
    assert "claimed" not in caplog.text

    manage(*HERE, *MONTH, "--employees", company[1].pk, "--verbosity", 2)
    assert "claimed" in caplog.text


def test_totals_are_by_currency(manage: Manage, company: list[Employee]) -> None:
    employee_with_week(currency="USD")
    assert manage(*HERE, *MONTH).table["done"] == ["4", "1800.00 EUR, 600.00 USD"]


def test_progress_is_shown_on_a_terminal(
    manage: Manage,
    company: list[Employee],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    manage(*HERE, *MONTH)
    assert "Payroll 2025-10" in capsys.readouterr().err
