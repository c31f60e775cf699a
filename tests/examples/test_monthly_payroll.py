from decimal import Decimal

import pytest

from examples.models import Employee, Payslip
from examples.monthly_payroll import post_payslip
from ledger.testing import assert_runs_once, crash_at
from ledger.testing.worker import Workers
from tests.examples.marks import commits


@pytest.fixture
def employee(db: None) -> Employee:
    return Employee.objects.create(name="Ada", salary=Decimal("4000"))


@pytest.mark.django_db
def test_a_month_is_posted_once_however_the_call_is_written(employee: Employee) -> None:
    answer = assert_runs_once(post_payslip, employee.pk, 2026, 11, effects=Payslip.objects.count)
    assert answer == {"payslip": Payslip.objects.get().pk, "net": Decimal("3200.00")}
    assert post_payslip(employee_id=employee.pk, year=2026, month=11) == answer
    assert Payslip.objects.count() == 1


@pytest.mark.django_db
def test_the_next_month_is_another_payslip(employee: Employee) -> None:
    for month in (11, 12):
        post_payslip(employee.pk, 2026, month)
    assert set(Payslip.objects.values_list("month", flat=True)) == {11, 12}


@commits
@pytest.mark.parametrize("point", ["before_commit", "before_ack"])
def test_a_worker_that_is_killed_leaves_one_payslip(
    ledger_worker: Workers, transactional_db: None, point: str
) -> None:
    employee = Employee.objects.create(name="Ada", salary=Decimal("4000"))
    ledger_worker(include=["examples.monthly_payroll"])
    with crash_at(point) as crash:
        result = post_payslip.delay(employee.pk, 2026, 11)
    crash.wait()
    second = post_payslip.delay(employee.pk, 2026, 11)
    assert result.get(timeout=30) == second.get(timeout=30)
    assert result.get()["payslip"] == Payslip.objects.get().pk
