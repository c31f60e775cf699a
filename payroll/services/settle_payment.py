from django.db import transaction
from django.db.models.functions import Now

from payroll.models import Account, JournalEntry, Payment

from .journal import write_journal
from .order_payment import find_pending


@transaction.atomic(savepoint=False)
def settle_payment(payment_id: int, bank_number: int | None = None) -> Payment:
    """Post a pending payment as sent: wages payable against the bank.

    `bank_number` is the bank's of its booking; None where no bank was asked.
    Raises UnknownPayment, and PaymentNotPending for one that was posted before.
    """
    payment = find_pending(payment_id)
    Payment.objects.filter(pk=payment.pk).update(
        status=Payment.Status.SENT, sent_at=Now(), bank_number=bank_number
    )
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
