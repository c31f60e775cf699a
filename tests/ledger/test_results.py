"""Results: stored with the effects, and replayed as a result backend would return them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
from celery import shared_task
from hypothesis import assume, given
from hypothesis import strategies as st
from kombu.serialization import dumps, loads
from pytest_django import Settings

from ledger import UnstorableResult, check_idempotency_status, idempotent_task, results
from ledger.models import State, TaskExecution
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.test_keys import SCALARS, TEXT, Level
from tests.testapp.models import Effect

pytestmark = commits

RETURNS: dict[str, Any] = {}


@idempotent_task(key="name")
def give(name: str) -> Any:
    Effect.objects.create(key=name)
    return RETURNS[name]


@shared_task
@idempotent_task()
def delivered(day: dt.date, amount: Decimal) -> dict[str, Any]:
    return {"day": day, "amount": amount * 2, "id": uuid.UUID(int=7), "pair": (1, 2)}


def through_a_result_backend(value: Any) -> Any:
    content_type, encoding, payload = dumps(value, serializer="json")
    return loads(payload, content_type, encoding, accept=["application/json"])


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1.5,
        2**80,
        "",
        "text",
        "5",
        "null",
        "naïve 😀 \x00 \ud800 \\u0000 <script>'\"",
        [],
        {},
        {"a": [1, {"b": None}]},
        (1, (2, 3)),
        {1: "numbers become text"},
        dt.date(2026, 11, 30),
        dt.datetime(2026, 11, 30, 12, 30, 15, 123456, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 30, 12),
        dt.time(12, 30),
        Decimal("1234567890.123456789000"),
        uuid.UUID(int=7),
        b"bytes",
        b"\xff",
        Level.LOW,
    ],
    ids=repr,
)
def test_a_replay_is_what_a_result_backend_returns(value: Any) -> None:
    RETURNS["it"] = value
    assert give("it") == value
    replayed = give("it")
    expected = through_a_result_backend(value)
    assert replayed == expected
    assert type(replayed) is type(expected)
    assert check_idempotency_status(f"{__name__}.give", ["it"])["result"] == expected
    assert Effect.objects.count() == 1


@given(
    st.recursive(
        SCALARS.filter(lambda value: value == value),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=10,
    )
)
def test_whatever_is_stored_comes_back_as_from_a_result_backend(value: Any) -> None:
    try:
        text = results.dump("task", value)
    except UnstorableResult:
        assume(False)
    assert text.isascii()
    assert results.load(text) == through_a_result_backend(value)


def test_a_message_and_a_replay_give_one_answer(inbox: Inbox) -> None:
    arguments = (dt.date(2026, 11, 30), Decimal("10.50"))
    delivered.delay(*arguments)
    delivered.delay(*arguments)
    first, second = inbox.take().run(), inbox.take().run()
    assert through_a_result_backend(first) == second == delivered(*arguments)
    assert second["amount"] == Decimal("21.00")


class Account:
    pass


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    "value",
    [
        Account(),
        {"deep": [Account()]},
        {1, 2},
        dt.timedelta(1),
        float("nan"),
        float("inf"),
        {"deep": [float("-inf")]},
        {(1, 2): 3},
        lambda: None,
        ENDLESS,
        Effect(pk=1),
        {"__type__": "unknown", "__value__": 1},
        {"__type__": "date", "__value__": "no date"},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_replayed_is_a_failure_and_nothing_is_committed(value: Any) -> None:
    RETURNS["it"] = value
    with pytest.raises(
        UnstorableResult, match=r"test_results\.give returned .*rolled back.*Return"
    ):
        give("it")
    assert not Effect.objects.exists()
    assert TaskExecution.objects.get().state == State.FAILED
    RETURNS["it"] = "mended"
    assert give("it") == "mended"


def test_a_result_over_the_limit_is_a_failure_and_nothing_is_committed(settings: Settings) -> None:
    settings.LEDGER = {"MAX_RESULT_BYTES": 100}
    RETURNS["it"] = "x" * 98
    assert give("it") == RETURNS["it"]
    RETURNS["too much"] = "x" * 99
    with pytest.raises(UnstorableResult, match=r"give returned 101 bytes.*MAX_RESULT_BYTES.*100"):
        give("too much")
    assert [effect.key for effect in Effect.objects.all()] == ["it"]


def test_a_megabyte_fits_unless_set_otherwise() -> None:
    RETURNS["it"] = "x" * 999_998
    give("it")
    assert give("it") == RETURNS["it"]
    RETURNS["more"] = "x" * 999_999
    with pytest.raises(UnstorableResult, match="1,000,001 bytes"):
        give("more")


@pytest.mark.parametrize("value", ["text", "5", '{"a": 1}', 5, None, [1], {"a": "b"}])
def test_a_result_can_be_read_through_the_orm(value: Any) -> None:
    RETURNS["it"] = value
    give("it")
    assert TaskExecution.objects.get().result == value
    assert list(TaskExecution.objects.values_list("result", flat=True)) == [value]
