"""What the database itself refuses, whoever asks."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from payroll.models import JournalEntry, JournalLine, Payslip
from payroll.services import post_payslip
from tests.payroll.company import OCTOBER, employee_with_week
from tests.payroll.factories import EmployeeFactory, PayPolicyFactory, WorkLogFactory


def unposted_entry() -> JournalEntry:
    payslip = Payslip.objects.create(
        employee=EmployeeFactory.create(),
        year=2025,
        month=10,
        sequence=1,
        kind=Payslip.Kind.REGULAR,
        currency="EUR",
        minutes=0,
        gross=0,
        withholding=0,
        net=0,
    )
    return JournalEntry(payslip=payslip, currency="EUR", description="by hand")


@pytest.mark.django_db(transaction=True)
def test_a_journal_entry_that_does_not_sum_to_zero_is_not_committed() -> None:
    def write() -> None:
        with transaction.atomic():
            entry = unposted_entry()
            entry.save()
            JournalLine.objects.create(entry=entry, account="wages_expense", amount=Decimal(100))
            JournalLine.objects.create(entry=entry, account="wages_payable", amount=Decimal(-99))

    with pytest.raises(IntegrityError, match="does not sum to zero"):
        write()
    assert not JournalEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_line_added_later_cannot_unbalance_an_entry() -> None:
    post_payslip(employee_with_week().pk, OCTOBER)
    entry = JournalEntry.objects.get()

    with pytest.raises(IntegrityError, match="does not sum to zero"):
        JournalLine.objects.create(entry=entry, account="bank", amount=Decimal(1))


@pytest.mark.django_db(transaction=True)
def test_a_journal_entry_without_lines_is_not_committed() -> None:
    entry = unposted_entry()
    with pytest.raises(IntegrityError, match="has no lines"):
        entry.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "table",
    ["payroll_payslip", "payroll_payslipline", "payroll_journalentry", "payroll_journalline"],
)
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_what_was_posted_is_never_changed_or_deleted(table: str, statement: str) -> None:
    post_payslip(employee_with_week().pk, OCTOBER)

    with pytest.raises(DatabaseError, match="Cannot"), connection.cursor() as cursor:
        cursor.execute(statement.format(table))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("hours", "constraint"),
    [(0, "ends_after_it_begins"), (-1, "ends_after_it_begins"), (24.1, "no_longer_than_a_day")],
)
def test_a_work_log_ends_within_a_day_of_its_beginning(hours: float, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        WorkLogFactory.create(hours=hours)


@pytest.mark.django_db
def test_the_same_check_in_is_stored_once() -> None:
    log = WorkLogFactory.create()
    with pytest.raises(IntegrityError, match="work_log_one_per_check_in"):
        WorkLogFactory.create(employee=log.employee)


@pytest.mark.django_db
def test_nobody_leaves_before_being_hired() -> None:
    someone = EmployeeFactory.create()
    someone.left_on = someone.hired_on - timedelta(days=1)
    with pytest.raises(IntegrityError, match="employee_leaves_after_being_hired"):
        someone.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("constraint", "wrong"),
    [
        ("premiums_add", {"daily_multiplier": "0.9"}),
        ("premiums_add", {"double_multiplier": "1.4"}),
        ("premiums_add", {"night_premium": "-0.1"}),
        ("holiday_is_creditable", {"holiday_multiplier": "1.25"}),
        ("double_time_comes_after_overtime", {"daily_after": 480, "double_after": 480}),
        ("night_has_two_ends", {"night_start": "22:00"}),
        ("rounding_steps", {"minute_step": 7}),
        ("rounding_steps", {"money_step": "0"}),
        ("withholding_is_a_share", {"withholding_rate": "1.1"}),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(constraint: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=f"pay_policy_{constraint}"):
        PayPolicyFactory.create(**wrong)
