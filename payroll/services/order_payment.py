from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from payroll.errors import NoAccount, PaymentNotPending, UnknownPayment
from payroll.models import Payment


@dataclass(frozen=True, slots=True)
class Order:
    """What the bank is to be told, the same however often it is told."""

    reference: str
    amount: Decimal
    currency: str
    iban: str
    key: str | None


@transaction.atomic(savepoint=False)
def order_payment(payment_id: int, key: str | None = None) -> Order:
    """What to send for a pending payment. Writes nothing but the key, if there is one.

    A payment keeps the `key` that it is first ordered with: whatever becomes of the execution that
    chose it, expired, cleared or taken over, the bank knows the payment again.
    Raises UnknownPayment, PaymentNotPending and NoAccount.
    """
    payment = find_pending(payment_id)
    employee = payment.payslip.employee
    if not employee.iban:
        raise NoAccount(payment, employee)
    if key and not payment.bank_key:
        payment.bank_key = UUID(key)
        payment.save(update_fields=["bank_key"])
    return Order(
        reference=f"payment-{payment.pk}",
        amount=payment.amount,
        currency=payment.currency,
        iban=employee.iban,
        key=str(payment.bank_key) if key else None,
    )


def find_pending(payment_id: int) -> Payment:
    """The payment, locked. Raises UnknownPayment and PaymentNotPending."""
    payments = Payment.objects.select_related("payslip__employee").select_for_update(of=("self",))
    # "7" would find payment 7 under another key than 7 does, and be sent beside it.
    payment = payments.filter(pk=payment_id).first() if type(payment_id) is int else None
    if payment is None:
        raise UnknownPayment(payment_id)
    if payment.status != Payment.Status.PENDING:
        raise PaymentNotPending(payment, payment.status)
    return payment
