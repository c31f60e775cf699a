"""At most once: a transfer to a bank that takes no idempotency key, never sent again blindly.

Where the worker dies or the answer is lost, nobody knows whether money moved. The execution is then
*held*: every further delivery raises ``ExecutionHeld`` until a person has asked the bank and says

    release(key, "completed", result={"booking": 4711}, reason="the bank has booked it")
    release(key, "failed", reason="the bank knows nothing of it")    # the next delivery sends it

or does so with ``manage.py ledger release``. A refused connection moved no money: it is retried.
"""

import json
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from celery import shared_task

from ledger import idempotent_task


class NothingSent(Exception):
    """There was no connection, so there is no doubt either."""


@shared_task(autoretry_for=(NothingSent,), retry_backoff=True, max_retries=10)
@idempotent_task(ttl_hours=None, guarantee="at_most_once", safe_to_retry=(NothingSent,))
def send_transfer(bank_url: str, reference: str, iban: str, amount: str) -> dict[str, Any]:
    transfer = {"reference": reference, "iban": iban, "amount": amount, "currency": "EUR"}
    request = Request(  # noqa: S310  the scheme is the caller's
        f"{bank_url}/transfers/plain",
        json.dumps(transfer).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=30) as answer:  # noqa: S310
            return {"booking": json.load(answer)["number"]}
    except URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            raise NothingSent(str(error)) from error
        raise
