"""Old and new workers side by side: each knows what the other has done, and no work is lost."""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import transaction

from examples.models import Entry
from examples.rolling import known_to_the_cache
from ledger import clear_idempotency_key, idempotent_task, make_idempotency_key
from tests.examples.marks import commits

pytestmark = commits

NAME = f"{__name__}.pay"


def old_key(
    task_name: str, args: Sequence[object], kwargs: Mapping[str, object], date: dt.date | None
) -> str:
    text = json.dumps([settings.TEST_RUN, task_name, args, kwargs], sort_keys=True)
    return f"idempotent:{task_name}:{hashlib.sha256(text.encode()).hexdigest()}"


def book(number: int) -> int:
    return Entry.objects.create(account="pay", amount=Decimal(number), text="").pk


def pay_in_an_old_worker(number: int) -> object:
    key = old_key(NAME, (number,), {}, None)
    if (found := cache.get(key)) is not None:
        return found["result"]
    cache.set(key, {"result": book(number)}, timeout=60)
    return cache.get(key)["result"]


@idempotent_task()
@known_to_the_cache(old_key, ttl_hours=0.02)
def pay(number: int) -> int:
    if number < 0:
        raise ValueError("not this time")
    return book(number)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    cache.delete_many([old_key(NAME, (number,), {}, None) for number in (7, -7)])


@pytest.mark.parametrize(
    ("first", "second"), [(pay, pay_in_an_old_worker), (pay_in_an_old_worker, pay)]
)
def test_what_one_has_done_the_other_does_not_do_again(
    first: Callable[[int], int], second: Callable[[int], int]
) -> None:
    assert first(7) == second(7) == first(7)
    assert Entry.objects.count() == 1


def test_a_run_that_was_not_committed_is_not_known_to_the_cache() -> None:
    with transaction.atomic():
        pay(7)
        transaction.set_rollback(True)
    assert cache.get(old_key(NAME, (7,), {}, None)) is None
    pay(7)
    assert Entry.objects.count() == 1


def test_nor_is_one_that_failed() -> None:
    with pytest.raises(ValueError, match="not this time"):
        pay(-7)
    assert cache.get(old_key(NAME, (-7,), {}, None)) is None


def test_what_was_cleared_on_purpose_runs_again_although_the_cache_knows_it() -> None:
    pay(7)
    assert clear_idempotency_key(NAME, [7], reason="the amount was wrong")
    pay(7)
    assert Entry.objects.count() == 2


def test_the_key_is_that_of_the_function_alone() -> None:
    assert make_idempotency_key(NAME, [7]) == make_idempotency_key(NAME, kwargs={"number": 7})
