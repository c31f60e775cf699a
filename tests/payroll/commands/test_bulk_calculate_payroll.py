from datetime import date, timedelta

import pytest

from ledger.models import TaskExecution
from payroll.models import Employee, Payslip
from payroll.tasks import process_payroll
from tests.payroll.company import MONDAY, Books, books, employee_with_week
from tests.payroll.factories import WorkLogFactory
from tests.payroll.manage import Manage
from tests.workers import Workers

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = ("bulk_calculate_payroll", "--year", 2025, "--month", 10)


@pytest.fixture
def company() -> list[Employee]:
    return [employee_with_week() for _ in range(3)]


def test_without_cache_a_posted_month_is_recomputed_and_not_paid_again(
    manage: Manage, company: list[Employee]
) -> None:
    manage(*COMMAND, "--no-parallel")
    run = manage(*COMMAND, "--no-parallel", "--no-cache")

    assert run.counts == {"done": 0, "nothing to correct": 3, "skipped": 0, "failed": 0}
    assert books() == Books(payslips=3, journal_entries=3, payments=3)


def test_without_cache_late_work_is_corrected_and_with_it_is_not_looked_at(
    manage: Manage, company: list[Employee]
) -> None:
    manage(*COMMAND, "--no-parallel")
    WorkLogFactory.create(employee=company[1], day=MONDAY + timedelta(days=5), hours=2)
    fourth = employee_with_week()

    cached = manage(*COMMAND, "--no-parallel", "--employees", company[1].pk)
    assert cached.counts == {"done": 0, "skipped": 1, "failed": 0}

    run = manage(*COMMAND, "--no-parallel", "--no-cache")
    # 600.00 for the fourth, who had none, and 45.00 for the late work.
    assert run.table["done"] == ["2", "645.00 EUR"]
    assert run.counts["nothing to correct"] == 2
    kinds = Payslip.objects.filter(employee=company[1]).values_list("kind", "gross")
    assert list(kinds) == [("regular", 800), ("correction", 60)]
    assert Payslip.objects.get(employee=fourth).kind == "regular"

    again = manage(*COMMAND, "--no-parallel", "--no-cache")
    assert (again.counts["done"], again.counts["failed"]) == (0, 0)
    assert Payslip.objects.count() == 5


def test_a_dry_run_without_cache_forecasts_the_corrections(
    manage: Manage, company: list[Employee]
) -> None:
    manage(*COMMAND, "--no-parallel")
    WorkLogFactory.create(employee=company[1], day=MONDAY + timedelta(days=5), hours=2)
    before = TaskExecution.objects.count()

    run = manage(*COMMAND, "--no-cache", "--dry-run")

    assert run.table["done"] == ["1", "45.00 EUR"]
    assert run.counts["nothing to correct"] == 2
    assert Payslip.objects.count() == 3
    assert TaskExecution.objects.count() == before


def test_the_workers_do_it_and_the_command_waits_for_them(
    manage: Manage, company: list[Employee], workers: Workers
) -> None:
    worker = workers.start(concurrency=2)
    company[2].hourly_rates.all().delete()
    process_payroll(company[0].pk, 2025, 10)

    run = manage(*COMMAND)

    assert run.counts == {"done": 1, "skipped": 1, "failed": 1}
    assert f"{company[2]} (id {company[2].pk}): " in run.err
    assert "no hourly rate" in run.err
    assert run.status == 1
    executed_by = TaskExecution.objects.get(
        state="completed", arguments__employee_id=company[1].pk
    ).worker
    assert int(executed_by.rpartition("/")[2]) in worker.children

    company[2].hourly_rates.create(valid_from=date(2025, 1, 1), amount=20)
    again = manage(*COMMAND)
    assert (again.status, again.counts) == (0, {"done": 1, "skipped": 2, "failed": 0})

    WorkLogFactory.create(employee=company[1], day=MONDAY + timedelta(days=5), hours=2)
    corrected = manage(*COMMAND, "--no-cache")
    assert corrected.table["done"] == ["1", "45.00 EUR"]
    assert corrected.counts["nothing to correct"] == 2
    assert Payslip.objects.count() == 4


def test_without_a_worker_the_command_gives_up_and_what_is_queued_is_paid_once(
    manage: Manage, company: list[Employee], workers: Workers
) -> None:
    run = manage(*COMMAND, "--timeout", 0.5)

    assert (run.status, run.counts) == (1, {"done": 0, "skipped": 0, "failed": 3})
    assert run.err.count("No worker answered for 0.5 s. Start one with") == 1
    assert "repeating the command is safe" in run.err
    assert books() == Books(0, 0, 0)

    workers.start()
    again = manage(*COMMAND)
    assert again.status == 0
    assert again.counts["failed"] == 0
    assert books() == Books(payslips=3, journal_entries=3, payments=3)


def test_a_broker_that_cannot_be_reached_is_named(
    manage: Manage, company: list[Employee], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kombu.exceptions import OperationalError

    def unreachable(*args: object, **options: object) -> None:
        raise OperationalError("Connection refused")

    monkeypatch.setattr(process_payroll, "apply_async", unreachable)
    run = manage(*COMMAND)

    assert (run.status, run.counts["failed"]) == (1, 3)
    assert "The broker cannot be reached: Connection refused" in run.err
