"""A form that is sent twice, by an impatient finger or a browser's reload, pays once.

The page carries a fresh token in a hidden field, ``uuid.uuid4()``: the same page sent again is the
same payment, and a new page is a new one.
"""

from decimal import Decimal

from django import forms
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from examples.models import Entry
from ledger import ExecutionInProgress, PayloadMismatch, idempotent_task


class PaymentForm(forms.Form):
    token = forms.UUIDField()
    account = forms.CharField(max_length=50)
    amount = forms.DecimalField(max_digits=12, decimal_places=2)


@require_POST
def pay(request: HttpRequest) -> HttpResponse:
    form = PaymentForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"errors": form.errors}, status=400)
    try:
        payment = book_payment(**form.cleaned_data)
    except ExecutionInProgress:
        return JsonResponse({"errors": "It is being paid at this moment."}, status=409)
    except PayloadMismatch:
        return JsonResponse({"errors": "This page has paid something else."}, status=422)
    return JsonResponse({"payment": payment})


@idempotent_task(ttl_hours=24, key="token")
def book_payment(token: object, account: str, amount: Decimal) -> int:
    return Entry.objects.create(account=account, amount=amount, text=f"page {token}").pk
