from datetime import date

import pytest

from payroll.services import find_missing, post_payslip
from tests.payroll.company import OCTOBER
from tests.payroll.factories import EmployeeFactory

pytestmark = pytest.mark.django_db


def test_missing_are_the_employed_without_a_payslip() -> None:
    EmployeeFactory.create(number="NEXT MONTH", hired_on=date(2025, 11, 1))
    EmployeeFactory.create(number="LAST MONTH", left_on=date(2025, 9, 30))
    EmployeeFactory.create(number="FROM THE LAST DAY", hired_on=date(2025, 10, 31))
    EmployeeFactory.create(number="TO THE FIRST DAY", left_on=date(2025, 10, 1))
    post_payslip(EmployeeFactory.create(number="POSTED").pk, OCTOBER)

    assert {e.number for e in find_missing(OCTOBER)} == {"FROM THE LAST DAY", "TO THE FIRST DAY"}
