from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum

from payroll.demo.demo import WITHOUT_A_NET
from payroll.errors import NothingPosted, OtherCurrency
from payroll.models import Employee, Payment, Payslip, PayslipLine, WorkLog
from payroll.services import correct_payslip, fingerprint, post_payslip
from tests.payroll.company import MONDAY, OCTOBER, Books, balances, books, employee_with_week
from tests.payroll.factories import HourlyRateFactory, WorkLogFactory

pytestmark = pytest.mark.django_db


def said(employee_id: int) -> dict[tuple[str, date | None, Decimal], tuple[int, Decimal]]:
    """What the payslips of the month say together, line by line, without what cancels out."""
    sums: dict[tuple[str, date | None, Decimal], tuple[int, Decimal]] = {}
    for line in PayslipLine.objects.filter(payslip__employee=employee_id):
        key = (line.kind, line.workweek, line.rate)
        minutes, amount = sums.get(key, (0, Decimal(0)))
        sums[key] = (minutes + line.minutes, amount + line.amount)
    return {key: sum_ for key, sum_ in sums.items() if any(sum_)}


def test_late_work_is_posted_as_the_difference() -> None:
    someone = employee_with_week()
    regular = post_payslip(someone.pk, OCTOBER)
    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=4)

    correction = correct_payslip(someone.pk, OCTOBER)

    assert correction is not None
    assert (correction.sequence, correction.kind) == (2, "correction")
    assert (correction.minutes, correction.gross, correction.net) == (240, 120, 90)
    assert (regular.gross, regular.net) == (800, 600)
    assert Payment.objects.get(payslip=correction).amount == 90
    assert balances()["wages_expense"] == 920


def test_the_payslips_of_a_corrected_month_say_what_a_fresh_one_would() -> None:
    someone = employee_with_week(hours=9)
    post_payslip(someone.pk, OCTOBER)
    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=4)
    HourlyRateFactory.create(employee=someone, valid_from=MONDAY + timedelta(days=2), amount=25)
    correct_payslip(someone.pk, OCTOBER)

    twin = employee_with_week(hours=9, pay_policy=someone.pay_policy)
    WorkLogFactory.create(employee=twin, day=MONDAY + timedelta(days=5), hours=4)
    HourlyRateFactory.create(employee=twin, valid_from=MONDAY + timedelta(days=2), amount=25)
    post_payslip(twin.pk, OCTOBER)

    assert said(someone.pk) == said(twin.pk)


def test_nothing_to_correct_posts_nothing() -> None:
    someone = employee_with_week(hours=10)
    post_payslip(someone.pk, OCTOBER)

    assert correct_payslip(someone.pk, OCTOBER) is None
    assert books() == Books(payslips=1, journal_entries=1, payments=1)


def test_a_correction_is_corrected_from_where_it_left_the_month() -> None:
    someone = employee_with_week()
    post_payslip(someone.pk, OCTOBER)
    late = WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=8), hours=5)
    correct_payslip(someone.pk, OCTOBER)
    assert correct_payslip(someone.pk, OCTOBER) is None
    late.delete()

    back = correct_payslip(someone.pk, OCTOBER)

    assert back is not None
    assert (back.sequence, back.gross) == (3, -100)
    assert sum(p.gross for p in Payslip.objects.all()) == 800


def test_what_was_paid_too_much_is_owed_and_not_paid_out() -> None:
    someone = employee_with_week()
    post_payslip(someone.pk, OCTOBER)
    someone.work_logs.all()[0].delete()

    correction = correct_payslip(someone.pk, OCTOBER)

    assert correction is not None
    assert correction.net == -120
    assert not Payment.objects.filter(payslip=correction).exists()
    assert balances() == {
        "wages_expense": Decimal("640.00"),
        "withholding_payable": Decimal("-160.00"),
        "wages_payable": Decimal("-480.00"),
    }


def test_a_month_posted_twice_by_mistake_is_brought_back_to_what_it_is_worth() -> None:
    """As there may be from before the database refused it."""
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_A_NET)
    someone = employee_with_week()
    post_payslip(someone.pk, OCTOBER)
    post_payslip(someone.pk, OCTOBER)

    correction = correct_payslip(someone.pk, OCTOBER)

    assert correction is not None
    assert correction.gross == -800
    assert balances()["wages_expense"] == 800


@pytest.mark.parametrize(("hours", "payments"), [(8, [600]), (10, [600, 45])])
def test_what_is_owed_is_set_against_what_a_later_correction_adds(
    hours: int, payments: list[int]
) -> None:
    someone = employee_with_week()
    post_payslip(someone.pk, OCTOBER)
    gone = WorkLog.objects.filter(employee=someone).latest("check_in")
    gone.delete()
    correct_payslip(someone.pk, OCTOBER)
    WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=4), hours=hours)
    correct_payslip(someone.pk, OCTOBER)

    worth = Payslip.objects.aggregate(net=Sum("net"))["net"]
    assert [p.amount for p in Payment.objects.all()] == payments
    assert sum(payments) == worth
    assert balances()["wages_payable"] == -worth


@pytest.mark.django_db(transaction=True)
def test_amounts_of_two_currencies_are_not_set_against_each_other() -> None:
    someone = employee_with_week()
    post_payslip(someone.pk, OCTOBER)
    Employee.objects.filter(pk=someone.pk).update(currency="CHF")
    HourlyRateFactory.create(employee=someone, valid_from=MONDAY, amount=25)

    with pytest.raises(OtherCurrency, match=r"2025-10 in EUR .* in CHF now.* back to EUR in the"):
        correct_payslip(someone.pk, OCTOBER)

    Employee.objects.filter(pk=someone.pk).update(currency="EUR")
    correction = correct_payslip(someone.pk, OCTOBER)
    assert correction is not None
    assert (correction.net, correction.currency) == (150, "EUR")


@pytest.mark.django_db(transaction=True)
def test_a_month_that_was_never_posted_cannot_be_corrected() -> None:
    someone = employee_with_week()
    with pytest.raises(NothingPosted, match="run generate_missing_payroll"):
        correct_payslip(someone.pk, OCTOBER)
    assert books() == Books(0, 0, 0)


def test_a_fingerprint_names_the_reason_to_recalculate() -> None:
    someone = employee_with_week()
    seen = [fingerprint(someone.pk, OCTOBER)]
    assert fingerprint(someone.pk, OCTOBER) == seen[0]

    post_payslip(someone.pk, OCTOBER)
    seen.append(fingerprint(someone.pk, OCTOBER))
    log = WorkLogFactory.create(employee=someone, day=MONDAY + timedelta(days=5), hours=None)
    seen.append(fingerprint(someone.pk, OCTOBER))
    log.check_out = log.check_in + timedelta(hours=1)
    log.save()
    seen.append(fingerprint(someone.pk, OCTOBER))
    HourlyRateFactory.create(employee=someone, valid_from=MONDAY, amount=21)
    seen.append(fingerprint(someone.pk, OCTOBER))
    someone.pay_policy.night_premium = Decimal("0.1")
    someone.pay_policy.save()
    seen.append(fingerprint(someone.pk, OCTOBER))
    correct_payslip(someone.pk, OCTOBER)
    seen.append(fingerprint(someone.pk, OCTOBER))

    assert len(set(seen)) == len(seen)
