"""Which values are the same in a key, by property, against an independent model."""

from __future__ import annotations

import datetime as dt
import enum
import re
import uuid
from collections import OrderedDict
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kombu.serialization import dumps, loads

from ledger import UnusableArgument, make_idempotency_key
from ledger.keys import MAX_KEY, MAX_TASK_NAME, canonical, compose
from tests.testapp.models import Effect

TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
"""Any text: NUL, lone surrogates, quotes and all."""

INSTANTS = st.datetimes(
    dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=st.one_of(st.none(), st.timezones())
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(allow_nan=False),
    TEXT,
    st.binary(max_size=8),
    st.uuids(),
    st.dates(),
    st.times(),
    INSTANTS,
)


class Level(enum.IntEnum):
    LOW = 3


class Colour(enum.StrEnum):
    RED = "red"


class Mixed(str, enum.Enum):  # noqa: UP042 - as it was written before StrEnum
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


NAMES = TEXT | st.integers() | st.booleans() | st.none() | st.floats()


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(NAMES, inner, max_size=4),
        ),
        max_leaves=12,
    )


def key(*args: object, **kwargs: object) -> str:
    return make_idempotency_key("nobody.registered.this", args, kwargs)


class TestWhatIsPublishedIsWhatTheWorkerSees:
    @given(nested(SCALARS))
    def test_a_value_has_the_same_key_after_its_journey_as_json(self, value: object) -> None:
        try:
            here = canonical(value, "argument")
        except UnusableArgument as refused:
            assume("two keys" not in str(refused))
            raise
        content_type, encoding, payload = dumps([value], serializer="json")

        (arrived,) = loads(payload, content_type, encoding, accept=["application/json"])

        assert canonical(arrived, "argument") == here

    @pytest.mark.parametrize(
        "value",
        [
            {1: "a", None: "b", False: "c", 2.5: "d"},
            {float("inf"): 1, float("-inf"): 2, 1e30: 3},
            OrderedDict(b=1, a=[(1, (2,))]),
            Point(1, 2),
            Level.LOW,
            Colour.RED,
            Mixed.RED,
            {Level.LOW: 1},
            {Mixed.RED: 1},
            type("Date", (dt.date,), {})(2026, 1, 2),
            type("Shouting", (str,), {"__str__": lambda self: self.upper()})("quiet"),
        ],
        ids=repr,
    )
    def test_so_do_the_unusual_ones(self, value: object) -> None:
        content_type, encoding, payload = dumps([value], serializer="json")
        (arrived,) = loads(payload, content_type, encoding, accept=["application/json"])

        assert canonical(arrived, "argument") == canonical(value, "argument")


def model(value: Any) -> Any:
    """What should tell two values apart, said without canonical text."""
    if isinstance(value, (list, tuple)):
        return "list", tuple(map(model, value))
    if isinstance(value, dict):
        return "dict", frozenset((name, model(item)) for name, item in value.items())
    if isinstance(value, float):
        return "float", value.hex()
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return "instant", value.astimezone(dt.UTC)
    return type(value).__name__, value


CONFUSABLE = st.one_of(
    st.sampled_from([0, 1, -1, 0.0, -0.0, 1.0, True, False, None]),
    st.sampled_from([Decimal(0), Decimal(1), Decimal("1.0"), Decimal("-0"), Decimal("1E+1")]),
    st.sampled_from(["", "1", "1.0", "true", "null", '"', ",", "]", ":", 'decimal"1"', "\\u0031"]),
    st.sampled_from([b"", b"1", dt.date(2026, 1, 1), "2026-01-01", dt.datetime(2026, 1, 1)]),
    st.sampled_from([dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.time(0), dt.timedelta(0)]),
    st.sampled_from([uuid.UUID(int=1), str(uuid.UUID(int=1))]),
    st.decimals(allow_nan=False),
)
STRUCTURES = st.recursive(
    CONFUSABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.sampled_from(["", "a", '"', ":", "1"]), inner, max_size=2),
    ),
    max_leaves=4,
)


class TestEqualAndDifferentValues:
    @given(st.lists(STRUCTURES, min_size=2, max_size=6))
    def test_keys_are_equal_exactly_where_values_are(self, values: list[object]) -> None:
        for one in values:
            for other in values:
                same = canonical(one, "") == canonical(other, "")
                assert same == (model(one) == model(other))

    def test_types_are_told_apart(self) -> None:
        ones = [1, "1", True, 1.0, Decimal(1), b"1", [1], {"1": 1}, {1}]
        assert len({key(one) for one in ones}) == len(ones)

    @given(st.dictionaries(TEXT, st.integers(), min_size=2))
    def test_the_order_of_a_dictionary_does_not_matter(self, value: dict[str, int]) -> None:
        assert key(value) == key(dict(reversed(value.items())))

    def test_a_tuple_is_a_list(self) -> None:
        assert key((1, (2, 3))) == key([1, [2, 3]])

    def test_a_set_has_no_order(self) -> None:
        assert key({"a", "b", "c"}) == key({"c", "b", "a"}) == key(frozenset("abc"))
        assert key({"a"}) != key(["a"])

    def test_a_decimal_is_its_value_and_not_its_spelling(self) -> None:
        assert key(Decimal("1.50")) == key(Decimal("1.5"))
        assert key(Decimal("1E+2")) == key(Decimal("100"))
        assert key(Decimal("-0.0")) == key(Decimal("0"))
        assert key(Decimal("1.50")) != key(Decimal("1.51"))

    def test_decimals_beyond_the_contexts_precision_are_told_apart(self) -> None:
        assert key(Decimal("1." + "0" * 40 + "1")) != key(Decimal("1." + "0" * 40 + "2"))

    def test_a_key_does_not_depend_on_the_decimal_context(self) -> None:
        amount = Decimal("1234567.89")
        expected = key(amount)
        with localcontext(prec=3):
            assert key(amount) == expected

    def test_an_instant_is_the_same_in_every_time_zone(self) -> None:
        berlin = dt.datetime(2026, 11, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=1)))
        assert key(berlin) == key(dt.datetime(2026, 11, 1, 11, tzinfo=dt.UTC))
        assert key(berlin) != key(berlin.replace(tzinfo=None))

    @given(st.timedeltas(), st.timedeltas())
    def test_durations_are_exact(self, one: dt.timedelta, other: dt.timedelta) -> None:
        assert (key(one) == key(other)) == (one == other)
        longest = dt.timedelta.max
        assert key(longest) != key(longest - dt.timedelta(microseconds=1))

    def test_a_choice_is_its_value(self) -> None:
        class Plain(enum.Enum):
            RED = "red"

        assert key(Level.LOW) == key(3)
        assert key(Colour.RED) == key(Mixed.RED) == key(Plain.RED) == key("red")


class TestModelInstances:
    def test_an_instance_counts_by_its_model_and_primary_key(self) -> None:
        assert key(Effect(pk=7, note="a")) == key(Effect(pk=7, note="b"))
        assert key(Effect(pk=7)) != key(Effect(pk=8))
        assert key(Effect(pk=7)) != key(7)

    def test_an_unsaved_instance_is_refused(self) -> None:
        with pytest.raises(
            UnusableArgument, match=r"argument 0 is an unsaved testapp\.Effect.*Save"
        ):
            key(Effect())


class Account:
    """What nobody can make a stable key of."""


class TestWhatHasNoStableValue:
    @pytest.mark.parametrize(
        ("call", "where"),
        [
            (lambda: key(Account()), "argument 0 is a tests.ledger.test_keys.Account"),
            (lambda: key(1, Account()), "argument 1 is a "),
            (lambda: key(account=Account()), "argument 'account' is a "),
            (lambda: key([1, {"deep": [Account()]}]), r"argument 0[1]['deep'][0] is a "),
            (lambda: key(lambda: None), "argument 0 is a builtins.function"),
            (lambda: key(object()), "argument 0 is a builtins.object"),
            (lambda: key(iter([])), "argument 0 is a builtins.list_iterator"),
            (lambda: key({(1, 2): 3}), "argument 0 has a dictionary key of type tuple"),
            (lambda: key({1: "a", "1": "b"}), "argument 0 has two keys that are both '1'"),
        ],
    )
    def test_it_is_refused_by_name(self, call: Any, where: str) -> None:
        with pytest.raises(UnusableArgument, match=re.escape(where)) as refused:
            call()
        assert isinstance(refused.value, TypeError)

    def test_a_value_that_contains_itself_is_refused(self) -> None:
        endless: list[object] = []
        endless.append(endless)
        with pytest.raises(UnusableArgument, match="nested"):
            key(endless)


class TestLengths:
    def test_the_longest_name_and_period_fit_the_column(self) -> None:
        longest = compose("x" * MAX_TASK_NAME, "0" * 64, "2026-10-25T02+02:00")
        assert len(longest) <= MAX_KEY

    @pytest.mark.parametrize("name", ["", "x" * (MAX_TASK_NAME + 1), "a\x00b", "\ud800"])
    def test_a_name_that_cannot_be_stored_is_refused(self, name: str) -> None:
        with pytest.raises(UnusableArgument, match="task name"):
            make_idempotency_key(name)

    def test_arguments_of_any_size_make_a_key_of_one_length(self) -> None:
        assert len(key("x" * 100_000)) == len(key(1))


class TestDates:
    @pytest.mark.parametrize("date", ["2026-11-30", dt.date(2026, 11, 30)])
    def test_a_date_may_be_given_as_text(self, date: str | dt.date) -> None:
        assert make_idempotency_key("t", date_based=True, date=date).endswith(":2026-11-30")

    @pytest.mark.parametrize("date", ["30.11.2026", "", 20261130, dt.datetime(2026, 11, 30, 1)])
    def test_anything_else_is_refused(self, date: Any) -> None:
        with pytest.raises(UnusableArgument, match="date"):
            make_idempotency_key("t", date_based=True, date=date)
