from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, transaction

from payroll.errors import MonthNotOver, NoHourlyRate, NotEmployed, UnknownEmployee
from payroll.models import JournalEntry, JournalLine, Payslip, WorkLog
from payroll.months import Month
from payroll.services import post_payslip
from tests.payroll.company import MONDAY, OCTOBER, Books, balances, books, employee_with_week
from tests.payroll.factories import (
    EmployeeFactory,
    HourlyRateFactory,
    PayPolicyFactory,
    WorkLogFactory,
)

pytestmark = pytest.mark.django_db


def test_a_payslip_has_its_lines_its_journal_and_a_pending_payment() -> None:
    payslip = post_payslip(employee_with_week(hours=10).pk, OCTOBER)

    # 50 hours at 20.00, and 10 of them at half of it on top.
    assert (payslip.gross, payslip.withholding, payslip.net) == (1100, 275, 825)
    assert (payslip.minutes, payslip.sequence, payslip.kind) == (50 * 60, 1, "regular")
    lines = [(line.kind, line.minutes, line.amount) for line in payslip.lines.all()]
    assert lines == [
        ("regular", 3000, Decimal("1000.00")),
        ("weekly_overtime", 600, Decimal("100.00")),
        ("withholding", 0, Decimal("-275.00")),
    ]
    assert balances() == {
        "wages_expense": Decimal("1100.00"),
        "withholding_payable": Decimal("-275.00"),
        "wages_payable": Decimal("-825.00"),
    }
    payment = payslip.payment
    assert (payment.amount, payment.currency, payment.status) == (825, "EUR", "pending")


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_a_month_its_second_regular_payslip() -> None:
    someone = employee_with_week()
    post_payslip(someone.pk, OCTOBER)

    with pytest.raises(IntegrityError, match="payslip_regular_is_the_first"):
        post_payslip(someone.pk, OCTOBER)
    assert books() == Books(payslips=1, journal_entries=1, payments=1)


def test_a_month_without_work_is_a_payslip_of_nothing() -> None:
    payslip = post_payslip(EmployeeFactory.create().pk, OCTOBER)

    assert (payslip.minutes, payslip.net) == (0, 0)
    assert books() == Books(payslips=1, journal_entries=0, payments=0)


def test_what_was_not_paid_is_on_the_payslip_for_somebody_to_look_at() -> None:
    someone = employee_with_week(days=1)
    overlapping = WorkLog.objects.create(
        employee=someone,
        check_in=datetime(2025, 10, 6, 15, tzinfo=ZoneInfo("Europe/Berlin")),
        check_out=datetime(2025, 10, 6, 17, tzinfo=ZoneInfo("Europe/Berlin")),
        time_zone="Europe/Berlin",
    )
    open_log = WorkLogFactory.create(employee=someone, day=date(2025, 10, 8), hours=None)

    payslip = post_payslip(someone.pk, OCTOBER)

    assert payslip.minutes == 9 * 60
    found = [(i["kind"], i["work_log"], i["minutes"]) for i in payslip.issues]
    assert sorted(found) == [("missing_check_out", open_log.pk, 0), ("overlap", overlapping.pk, 60)]


@pytest.mark.parametrize("first", [date(2025, 9, 1), date(2025, 10, 1)])
def test_work_that_reaches_into_the_month_is_paid_from_its_first_midnight(first: date) -> None:
    """On a Monday, when the workweek begins as well, and on a Wednesday."""
    someone = EmployeeFactory.create()
    midnight = datetime(first.year, first.month, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    WorkLog.objects.create(
        employee=someone,
        check_in=midnight - timedelta(hours=2),
        check_out=midnight + timedelta(hours=6),
        time_zone="Europe/Berlin",
    )

    assert post_payslip(someone.pk, Month(first.year, first.month - 1)).minutes == 2 * 60
    assert post_payslip(someone.pk, Month(first.year, first.month)).minutes == 6 * 60


def test_overtime_counts_the_days_of_the_month_before_that_share_its_first_week() -> None:
    someone = EmployeeFactory.create()
    for n in range(5):  # 29 September to 3 October
        WorkLogFactory.create(employee=someone, day=date(2025, 9, 29) + timedelta(days=n), hours=10)
    payslip = post_payslip(someone.pk, OCTOBER)

    overtime = payslip.lines.get(kind="weekly_overtime")
    assert payslip.minutes == 30 * 60
    assert (overtime.minutes, overtime.workweek) == (10 * 60, date(2025, 9, 29))


def test_a_holiday_of_the_policys_country_pays_its_premium() -> None:
    policy = PayPolicyFactory.create(holiday_country="DE", holiday_multiplier=2)
    someone = EmployeeFactory.create(pay_policy=policy)
    WorkLogFactory.create(employee=someone, day=date(2025, 10, 3))  # German Unity Day

    payslip = post_payslip(someone.pk, OCTOBER)

    assert payslip.lines.get(kind="holiday").amount == Decimal("160.00")
    assert payslip.gross == Decimal("320.00")


def test_a_raise_counts_from_its_day_on() -> None:
    someone = employee_with_week(days=2)
    HourlyRateFactory.create(employee=someone, valid_from=MONDAY + timedelta(days=1), amount=30)

    assert post_payslip(someone.pk, OCTOBER).gross == 8 * 20 + 8 * 30


def test_it_is_a_handful_of_statements_however_much_was_worked(
    django_assert_num_queries: Callable[[int], Any],
) -> None:
    someone = employee_with_week(hours=12, days=20)
    # Three to read, the sequence, and five to write. The test is the transaction.
    with django_assert_num_queries(9):
        post_payslip(someone.pk, OCTOBER)


def test_a_journal_sums_to_zero_whatever_was_earned() -> None:
    for hours in range(1, 14):
        policy = PayPolicyFactory.create(withholding_rate=Decimal("0.3333"), daily_after=450)
        post_payslip(employee_with_week(hours=hours, pay_policy=policy).pk, OCTOBER)

    for entry in JournalEntry.objects.all():
        assert sum(line.amount for line in entry.lines.all()) == 0
    assert JournalLine.objects.count() == 3 * 13
    connection.check_constraints()


@pytest.mark.parametrize("employee_id", [0, 10**30, "abc", None, True])
def test_an_unknown_employee_is_an_error_that_says_where_to_look(employee_id: Any) -> None:
    with pytest.raises(UnknownEmployee, match=r"no employee with id .* admin"):
        post_payslip(employee_id, OCTOBER)


@pytest.mark.django_db(transaction=True)
def test_a_month_that_is_not_over_cannot_be_paid() -> None:
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    with pytest.raises(MonthNotOver, match="not over yet: run its payroll on"):
        post_payslip(EmployeeFactory.create().pk, Month(today.year, today.month))
    assert books() == Books(0, 0, 0)


def test_work_before_the_first_rate_is_an_error_that_names_the_day() -> None:
    someone = EmployeeFactory.create(rate=None)
    WorkLogFactory.create(employee=someone)
    with pytest.raises(NoHourlyRate, match=r"worked on 2025-10-06 .* no hourly rate"):
        post_payslip(someone.pk, OCTOBER)


@pytest.mark.parametrize("dates", [{"hired_on": date(2025, 11, 1)}, {"left_on": date(2025, 9, 30)}])
def test_nobody_is_paid_for_a_month_they_were_not_employed_in(dates: dict[str, date]) -> None:
    with pytest.raises(NotEmployed, match="is not employed in 2025-10"):
        post_payslip(EmployeeFactory.create(**dates).pk, OCTOBER)


@pytest.mark.django_db(transaction=True)
def test_a_payslip_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError

    someone = employee_with_week()
    monkeypatch.setattr("payroll.services.write.write_journal", fail)
    with pytest.raises(ZeroDivisionError):
        post_payslip(someone.pk, OCTOBER)
    assert not Payslip.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_at_once_wait_for_each_other_instead_of_colliding(
    second_session: Callable[[str, tuple[Any, ...]], bool],
) -> None:
    someone = employee_with_week()
    lock = "SELECT 1 FROM payroll_employee WHERE id = %s FOR NO KEY UPDATE SKIP LOCKED"

    assert second_session(lock, (someone.pk,))
    with transaction.atomic():
        post_payslip(someone.pk, OCTOBER)
        assert not second_session(lock, (someone.pk,))
    assert second_session(lock, (someone.pk,))
