from django.db import transaction
from django.db.models.functions import Now

from payroll.errors import PaymentNotPending, UnknownPayment
from payroll.models import Account, JournalEntry, Payment

from .journal import write_journal


@transaction.atomic(savepoint=False)
def settle_payment(payment_id: int) -> Payment:
    """Send a pending payment and post it: wages payable against the bank.

    Raises UnknownPayment, and PaymentNotPending for one that was sent before.
    """
    payments = Payment.objects.select_for_update()
    payment = payments.filter(pk=payment_id).first() if type(payment_id) is int else None
    if payment is None:
        raise UnknownPayment(payment_id)
    if payment.status != Payment.Status.PENDING:
        raise PaymentNotPending(payment, payment.status)
    Payment.objects.filter(pk=payment.pk).update(status=Payment.Status.SENT, sent_at=Now())
    write_journal(
        JournalEntry(
            payment=payment,
            currency=payment.currency,
            description=f"Payment {payment.pk} of wages",
        ),
        {Account.WAGES_PAYABLE: payment.amount, Account.BANK: -payment.amount},
    )
    payment.refresh_from_db()
    return payment
