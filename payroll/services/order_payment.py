from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from payroll.errors import NoAccount, PaymentNotPending, UnknownPayment
from payroll.models import Payment


@dataclass(frozen=True, slots=True)
class Order:
    """What the bank is to be told, the same however often it is told with a key.

    `is_new`: the bank cannot have been told before.
    """

    reference: str
    amount: Decimal
    currency: str
    iban: str
    key: str | None
    is_new: bool = field(compare=False)


@transaction.atomic(savepoint=False)
def order_payment(payment_id: int, key: str | None = None) -> Order:
    """What to send for a pending payment. Writes nothing but the key and the account, if there
    is a key.

    A payment keeps the `key` that it is first ordered with, and the account: whatever becomes of
    the execution that chose it, expired, cleared or taken over, and of the employee's IBAN, the
    bank knows the payment again. Raises UnknownPayment, PaymentNotPending and NoAccount.
    """
    payment = find_pending(payment_id)
    employee = payment.payslip.employee
    is_new = not payment.bank_iban
    iban = employee.iban if not key or is_new else payment.bank_iban
    if not iban:
        raise NoAccount(payment, employee)
    if key and is_new:
        payment.bank_key, payment.bank_iban = payment.bank_key or UUID(key), iban
        payment.save(update_fields=["bank_key", "bank_iban"])
    return Order(
        reference=f"payment-{payment.pk}",
        amount=payment.amount,
        currency=payment.currency,
        iban=iban,
        key=str(payment.bank_key) if key else None,
        is_new=is_new,
    )


def forget_account(payment_id: int) -> None:
    """Nothing was booked, nor will be, to the account that the payment was ordered to: order it to
    the employee's IBAN of then."""
    Payment.objects.filter(pk=payment_id).update(bank_iban="")


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
