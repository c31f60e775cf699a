"""How a payment leaves, and with which of the ledger's guarantees.

    no bank (BANK_URL is empty)         exactly_once    the payment is settled in the books alone
    a bank that honours keys            at_least_once   sent again after a crash or an unknown
                                                        answer, with the same key: booked once
    one that does not                   at_most_once    never sent again after those: held until
    (BANK_HONOURS_KEYS is false)                        a person has asked the bank

There is one task for all of them, because a payment has one key: two tasks would be two keys, and a
payment sent by each. Settle or release every open payment before you change between the last two.

The books follow the bank's answer in a step of the execution. A crash in front of that step sends
again, or holds; a crash behind it finds the step done, and neither sends nor posts again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ledger import current_execution
from payroll.bank.client import (
    BankClient,
    BankError,
    BankOutcomeUnknown,
    BankUnreachable,
    NotBooked,
    TransferInvalid,
)
from payroll.errors import CannotBePaid, PaymentNotPending, SettledMeanwhile
from payroll.models import Payment
from payroll.services import forget_account, order_payment, settle_payment

SETTLED = "settled"


@dataclass(frozen=True)
class Guarantee:
    """``options`` of the ledger's decorator, and the errors after which Celery may try again."""

    options: dict[str, Any]
    worth_retrying: tuple[type[BankError], ...] = ()


EXACTLY_ONCE = Guarantee({"guarantee": "exactly_once"})
AT_LEAST_ONCE = Guarantee({"guarantee": "at_least_once"}, (BankUnreachable, BankOutcomeUnknown))
AT_MOST_ONCE = Guarantee(
    {"guarantee": "at_most_once", "safe_to_retry": (NotBooked, CannotBePaid)}, (BankUnreachable,)
)


def configured() -> tuple[Guarantee, Callable[[int], dict[str, Any]]]:
    """The guarantee that the settings ask for, and what pays under it, by a payment's id.

    Raises ImproperlyConfigured.
    """
    if not settings.BANK_URL:
        return EXACTLY_ONCE, settle
    if settings.BANK_TIMEOUT <= 0:
        raise ImproperlyConfigured(
            f"BANK_TIMEOUT is {settings.BANK_TIMEOUT:g}: give seconds, more than 0."
        )
    try:
        bank = BankClient(settings.BANK_URL, settings.BANK_TIMEOUT)
    except ValueError as error:
        raise ImproperlyConfigured(f"BANK_URL: {error}") from None
    with_key = settings.BANK_HONOURS_KEYS
    guarantee = AT_LEAST_ONCE if with_key else AT_MOST_ONCE
    return guarantee, lambda payment_id: send(payment_id, bank, with_key=with_key)


def send(payment_id: int, bank: BankClient, *, with_key: bool) -> dict[str, Any]:
    """Send a pending payment and post what the bank answers, within an execution of the ledger's.

    Raises CannotBePaid where nothing was sent, and the client's BankError.
    """
    execution = current_execution()
    number = 0
    if SETTLED not in execution.steps_done:  # where it is, the step answers, and nothing is sent
        order = order_payment(payment_id, execution.idempotency_key if with_key else None)
        try:
            number = bank.transfer(
                order.reference, order.amount, order.currency, order.iban, idempotency_key=order.key
            ).number
        except NotBooked as error:
            # An error of this request says nothing of an earlier one whose answer was lost.
            if order.is_new or isinstance(error, TransferInvalid):
                forget_account(payment_id)
            raise
    return execution.step(SETTLED, _settle, payment_id, number)


def settle(payment_id: int, number: int | None = None) -> dict[str, Any]:
    """Post a pending payment as sent, within an execution of the ledger's."""
    payment = settle_payment(payment_id, number)
    current_execution().wrote(payment)
    return describe(payment)


def _settle(payment_id: int, number: int) -> dict[str, Any]:
    try:
        return settle(payment_id, number)
    except PaymentNotPending as error:
        raise SettledMeanwhile(payment_id, number) from error


def describe(payment: Payment) -> dict[str, Any]:
    """A payment as its task's result: ids, the amount as a decimal string, the bank's number."""
    return {
        "payment_id": payment.pk,
        "amount": str(payment.amount),
        "currency": payment.currency,
        "status": payment.status,
        "bank_number": payment.bank_number,
    }
