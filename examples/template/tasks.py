"""A task to begin with. Copy this file and ``test_tasks.py``, rename, and answer four questions.

1. What identifies the work? All arguments do, unless ``key="order_id"`` names them. Pass ids and
   plain data, not objects: they travel as JSON.
2. Where are the effects? Rows of the ledger's database: leave ``guarantee=`` out. A mail, a file, a
   provider that takes an idempotency key: ``"at_least_once"``. What must never happen twice and
   cannot be asked to: ``"at_most_once"``.
3. For how long may a duplicate come? ``ttl_hours=``; None for money. Once a day, whenever it is
   started: ``@idempotent_daily_task()``.
4. What goes away by itself? ``autoretry_for=``, above the ledger, which remembers no failure.

A task that needs none of this says so: ``@non_idempotent("only reads")``.
"""

from decimal import Decimal
from typing import Any

from celery import Task, shared_task
from django.db import OperationalError

from examples.models import Entry
from ledger import idempotent_task


@shared_task(
    bind=True,
    name="shop.tasks.book_order",  # part of the key: it stays when the module moves
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    retry_jitter=True,
    max_retries=3,
)
@idempotent_task(ttl_hours=72)
def book_order(self: Task, order_id: int, amount: str) -> dict[str, Any]:
    """Book an order. Returns what every duplicate is answered with: small, and plain data."""
    text = f"order {order_id}"
    return {"entry": Entry.objects.create(account="orders", amount=Decimal(amount), text=text).pk}
