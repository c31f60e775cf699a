from decimal import Decimal

import pytest

from payroll.errors import PaymentNotPending, UnknownPayment
from payroll.models import JournalEntry
from payroll.services import post_payslip, settle_payment
from tests.payroll.company import OCTOBER, balances, employee_with_week

pytestmark = pytest.mark.django_db


def test_a_sent_payment_is_booked_against_the_bank() -> None:
    payslip = post_payslip(employee_with_week().pk, OCTOBER)

    payment = settle_payment(payslip.payment.pk)

    assert payment.status == "sent"
    assert payment.sent_at is not None
    assert balances() == {
        "wages_expense": Decimal("800.00"),
        "withholding_payable": Decimal("-200.00"),
        "bank": Decimal("-600.00"),
    }


@pytest.mark.django_db(transaction=True)
def test_a_payment_is_sent_once() -> None:
    payslip = post_payslip(employee_with_week().pk, OCTOBER)
    settle_payment(payslip.payment.pk)

    with pytest.raises(PaymentNotPending, match="is sent, and only a pending payment"):
        settle_payment(payslip.payment.pk)
    assert JournalEntry.objects.filter(payment=payslip.payment).count() == 1


@pytest.mark.parametrize("payment_id", [0, 10**30, "x", "1", None])
def test_an_unknown_payment_is_an_error(payment_id: object) -> None:
    with pytest.raises(UnknownPayment, match="no payment with id"):
        settle_payment(payment_id)  # type: ignore[arg-type]
