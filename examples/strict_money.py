"""Money between accounts: once, for ever, and a duplicate is an error that somebody should see.

The transaction's number is the key. The other arguments must then be the same as well: number 17
with another amount raises ``PayloadMismatch`` rather than passing for a duplicate.
"""

from decimal import Decimal

from celery import shared_task

from examples.models import Entry
from ledger import idempotent_task


@shared_task
@idempotent_task(ttl_hours=None, skip_on_duplicate=False, key="transaction_id")
def book(transaction_id: int, debit: str, credit: str, amount: Decimal) -> str:
    """Raises ``DuplicateExecution``, a ``RuntimeError``, where it was booked already."""
    text = f"transaction {transaction_id}"
    Entry.objects.create(account=debit, amount=-amount, text=text)
    Entry.objects.create(account=credit, amount=amount, text=text)
    return text
