"""What the bank's tests send, as a client would and as plain HTTP."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier
from typing import Any, TypeVar

import urllib3

from payroll.bank.client import BankClient, Receipt
from payroll.bank.process import BankProcess

IBAN = "DE89370400440532013000"
ANOTHER_IBAN = "GB29NWBK60161331926819"
T = TypeVar("T")


def transfer(**changed: Any) -> dict[str, Any]:
    """A transfer in JSON."""
    return {"reference": "pay-1", "amount": "1250.00", "currency": "EUR", "iban": IBAN} | changed


def post(
    bank: BankProcess, path: str, body: object, headers: Mapping[str, str] | None = None
) -> urllib3.BaseHTTPResponse:
    return urllib3.request("POST", bank.url + path, json=body, headers=headers, retries=False)


def post_keyed(
    bank: BankProcess, key: str, body: object, fault: str = ""
) -> urllib3.BaseHTTPResponse:
    headers = {"Idempotency-Key": key, "Bank-Fault": fault}
    return post(bank, "/transfers/idempotent", body, headers)


def error(answer: urllib3.BaseHTTPResponse) -> str:
    return str(json.loads(answer.data)["error"])


def pay(client: BankClient, reference: str = "pay-1", key: str | None = None) -> Receipt:
    return client.transfer(reference, Decimal("1250.00"), "EUR", IBAN, idempotency_key=key)


def at_once(times: int, send: Callable[[int], T]) -> list[T]:
    """Call ``send`` with 0, 1, … from as many threads, all let go at the same moment."""
    start = Barrier(times)

    def one(number: int) -> T:
        start.wait()
        return send(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(one, range(times)))
