from datetime import timedelta

import pytest

from payroll.models import Employee, Payslip
from payroll.services import settle_payment
from payroll.tasks import process_payroll
from tests.payroll.company import MONDAY, balances, employee_with_week
from tests.payroll.factories import WorkLogFactory
from tests.payroll.manage import Manage

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = ("recalculate_monthly_payroll", "--year", 2025, "--month", 10)


@pytest.fixture
def paid() -> Employee:
    """Somebody whose October is posted and paid."""
    someone = employee_with_week()
    result = process_payroll(someone.pk, 2025, 10)
    settle_payment(result["payment_id"])
    return someone


def test_a_paid_payslip_is_not_touched_and_the_difference_is_posted(
    manage: Manage, paid: Employee
) -> None:
    before = Payslip.objects.values().get()
    WorkLogFactory.create(employee=paid, day=MONDAY + timedelta(days=5), hours=3)

    run = manage(*COMMAND)

    assert (run.status, run.table["done"]) == (0, ["1", "67.50 EUR"])
    assert Payslip.objects.values().get(sequence=1) == before
    correction = Payslip.objects.get(sequence=2)
    assert (correction.kind, correction.gross, correction.payment.status) == (
        "correction",
        90,
        "pending",
    )
    assert balances()["wages_payable"] == -correction.net


def test_nothing_to_correct_is_said(manage: Manage, paid: Employee) -> None:
    run = manage(*COMMAND)

    assert run.counts == {"done": 0, "nothing to correct": 1, "skipped": 0, "failed": 0}
    assert Payslip.objects.count() == 1


def test_asked_again_for_the_same_reason_the_ledger_answers(manage: Manage, paid: Employee) -> None:
    manage(*COMMAND)
    run = manage(*COMMAND, "--verbosity", 2)

    assert run.counts == {"done": 0, "skipped": 1, "failed": 0}
    assert "skipped the ledger has it as done on" in run.out


def test_a_new_reason_within_the_hour_is_a_new_correction(manage: Manage, paid: Employee) -> None:
    for day in (5, 6):
        WorkLogFactory.create(employee=paid, day=MONDAY + timedelta(days=day), hours=1)
        assert manage(*COMMAND).counts["done"] == 1
    assert [p.gross for p in Payslip.objects.order_by("sequence")] == [800, 30, 30]


def test_it_is_about_those_who_have_a_payslip(manage: Manage, paid: Employee) -> None:
    unpaid = employee_with_week()
    assert sum(manage(*COMMAND).counts.values()) == 1

    run = manage(*COMMAND, "--employees", f"{paid.pk},{unpaid.pk}")
    assert (run.status, run.counts["failed"]) == (1, 1)
    assert f"{unpaid} has no payslip for 2025-10 to correct: run generate_missing" in run.err


def test_what_was_paid_too_much_becomes_a_negative_correction(
    manage: Manage, paid: Employee
) -> None:
    paid.work_logs.all()[0].delete()

    assert manage(*COMMAND).table["done"] == ["1", "-120.00 EUR"]
    assert not hasattr(Payslip.objects.get(sequence=2), "payment")
