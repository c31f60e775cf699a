"""A provider delivers each event until it is answered with 200, and now and then once more.

The event's id is the key. A duplicate is answered 200, for it is done; a failure is not remembered,
so the 500 that it causes lets the provider deliver it again.
"""

import json
from decimal import Decimal

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from examples.models import Entry
from ledger import ExecutionInProgress, idempotent_task


@csrf_exempt  # check the provider's signature here instead
@require_POST
def receive(request: HttpRequest) -> HttpResponse:
    event = json.loads(request.body)
    try:
        book_receipt(event["id"], event["account"], event["amount"])
    except ExecutionInProgress:
        return HttpResponse(status=503, headers={"Retry-After": "1"})
    return JsonResponse({"received": event["id"]})


@idempotent_task(ttl_hours=24 * 30, key="event_id")
def book_receipt(event_id: str, account: str, amount: str) -> None:
    Entry.objects.create(account=account, amount=Decimal(amount), text=f"event {event_id}")
