"""One task of each guarantee, whose body does what the test orders, one thing at a time."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from ledger import current_execution, idempotent_task
from tests.ledger.stateful.stage import Here, Stop, here
from tests.testapp.models import Effect

TTL_HOURS = 24
MAX_CRASHES = 2


class Harmless(Exception):
    """Nothing has taken effect."""


@idempotent_task(ttl_hours=TTL_HOURS, max_crashes=MAX_CRASHES)
def exactly(number: int) -> Any:
    return act(f"exactly {number}")


@idempotent_task(ttl_hours=TTL_HOURS, max_crashes=MAX_CRASHES, guarantee="at_least_once")
def least(number: int) -> Any:
    return act(f"least {number}")


@idempotent_task(ttl_hours=TTL_HOURS, guarantee="at_most_once", safe_to_retry=(Harmless,))
def most(number: int) -> Any:
    return act(f"most {number}")


class FollowUp(Task):
    """Published for real, while the test says that there is a broker."""

    def apply_async(self, args: Any = None, *more: Any, **options: Any) -> Any:
        def send() -> object:
            return super(FollowUp, self).apply_async(args, *more, **options)

        return here().publish(args[0], send)


@shared_task(base=FollowUp)
def follow_up(number: int) -> None:
    raise AssertionError("nobody listens")


def act(name: str) -> object:
    """An effect at once, then orders, until one of them is the body's result."""
    attempt = current_execution().attempt
    Effect.objects.create(key=name, note=f"attempt {attempt}")
    while (result := here().stop(Stop("body", attempt))()) is STAY:
        pass
    return result


STAY = object()
"""What an order returns that does not end the body."""


def raise_(error: Exception) -> Here:
    def order() -> object:
        raise error

    return order


def do_step(key: str, name: str) -> Here:
    def effect() -> None:
        Effect.objects.create(key=key, note=f"{name} in attempt {current_execution().attempt}")

    def order() -> object:
        current_execution().step(name, effect)
        return STAY

    return order


def enqueue(number: int) -> Here:
    def order() -> object:
        current_execution().enqueue(follow_up.s(number))
        return STAY

    return order
