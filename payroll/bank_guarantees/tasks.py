"""The four ways to pay. The worker of a trial is told to import this module."""

from dataclasses import dataclass
from typing import Any

from celery import Task, shared_task

from ledger import idempotent_task
from payroll import paying
from payroll.bank.client import BankClient

GUARANTEES = {"at_least_once": paying.AT_LEAST_ONCE, "at_most_once": paying.AT_MOST_ONCE}


@dataclass(frozen=True)
class Way:
    """A guarantee's name, and whether the bank's endpoint honours idempotency keys."""

    honours_keys: bool
    guarantee: str

    @property
    def endpoint(self) -> str:
        return "honours keys" if self.honours_keys else "plain"


def paid(way: Way) -> Task:
    guarantee = GUARANTEES[way.guarantee]

    @shared_task(
        bind=True,
        autoretry_for=guarantee.worth_retrying,
        retry_kwargs={"max_retries": 100, "countdown": 0.1},
        name=f"payroll.bank_guarantees.{way.guarantee}.{way.endpoint}".replace(" ", "_"),
    )
    @idempotent_task(ttl_hours=None, key="payment_id", **guarantee.options)
    def pay(self: Task, payment_id: int, bank_url: str, timeout: float) -> dict[str, Any]:
        return paying.send(payment_id, BankClient(bank_url, timeout), with_key=way.honours_keys)

    return pay


WAYS = {
    way: paid(way) for way in (Way(keys, name) for keys in (True, False) for name in GUARANTEES)
}
