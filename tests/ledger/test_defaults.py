"""A parameter with a default that is added to a task leaves the keys of its calls as they were."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import UnusableArgument, idempotent_task
from ledger.protection import MARK, Identity
from tests.ledger.marks import commits


def identity(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Identity:
    protected = getattr(idempotent_task()(function), MARK)
    found: Identity = protected.identity(args, kwargs, bound=False)
    return found


def same(one: Identity, other: Identity) -> bool:
    assert (one.key_hash == other.key_hash) == (one.args_hash == other.args_hash)
    return one.key_hash == other.key_hash


RELEASES: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lambda employee: 0, lambda employee, note=None: 0),
    (lambda employee: 0, lambda employee, note="", *, dry=False: 0),
    (lambda employee, /: 0, lambda employee, note=None, /: 0),
    (lambda employee, month=11: 0, lambda employee, month=11, note=None: 0),
    (lambda employee, *rest: 0, lambda employee, *rest, dry=False: 0),
    (lambda employee, **named: 0, lambda employee, *, dry=False, **named: 0),
    (lambda employee, month=11: 0, lambda employee, month=12: 0),
]


@pytest.mark.parametrize(("before", "after"), RELEASES)
def test_an_old_message_is_an_old_call(
    before: Callable[..., Any], after: Callable[..., Any]
) -> None:
    assert same(identity(before, 7), identity(after, 7))
    assert not same(identity(before, 7), identity(after, 8))


def test_what_the_old_message_names_stays_in_its_key() -> None:
    old = identity(lambda employee, month=11, **named: 0, 7, 12, extra=1)
    new = identity(lambda employee, month=11, note=None, **named: 0, 7, 12, extra=1)
    assert same(old, new)


def test_a_default_written_out_is_a_default_left_out() -> None:
    def pay(employee: int, month: int = 11, note: str | None = None, *, dry: bool = False) -> None:
        """Is never run."""

    calls = [
        identity(pay, 7),
        identity(pay, 7, 11),
        identity(pay, 7, note=None),
        identity(pay, 7, 11, None, dry=False),
    ]
    assert len({call.args_hash for call in calls}) == 1
    assert same(identity(pay, 7, note="x"), identity(pay, 7, 11, "x"))


@pytest.mark.parametrize("default", [1, True, 1.0, "1", Decimal(1), None, 0, False, "", [], {}])
def test_it_is_compared_as_what_it_is(default: Any) -> None:
    """``==`` says that 1, True and 1.0 are the same."""
    values: list[Any] = [1, True, 1.0, "1", Decimal(1), None, 0, False, "", [], {}]
    calls = {identity(lambda x=default, *rest: 0, value).args_hash for value in values}
    assert len(calls) == len(values)


def test_what_arrives_as_json_is_still_the_default() -> None:
    assert same(identity(lambda x=(1, 2): 0), identity(lambda x=(1, 2): 0, [1, 2]))


ANY = st.sampled_from([None, 1, True, "", 2])


@given(st.lists(ANY, max_size=5), st.lists(ANY, max_size=5))
def test_different_calls_stay_different(one: list[Any], other: list[Any]) -> None:
    def gather(a: Any = None, b: Any = 1, c: Any = True, *rest: Any) -> None:
        """Is never run."""

    def whole(given: list[Any]) -> list[Any]:
        return [*given, *[None, 1, True][len(given) :]]

    expected = repr(whole(one)) == repr(whole(other))  # which tells 1 and True apart
    assert same(identity(gather, *one), identity(gather, *other)) == expected


def test_a_name_among_others_is_not_the_parameter_of_that_name() -> None:
    def gather(first: int = 1, /, **named: int) -> None:
        """Is never run."""

    assert not same(identity(gather, 1, first=1), identity(gather, 1))


def test_a_default_that_has_no_stable_value_equals_nothing() -> None:
    unset = object()

    def pay(employee: int, note: Any = unset) -> None:
        """Is never run."""

    with pytest.raises(UnusableArgument, match=r"argument 1 is a builtins\.object"):
        identity(pay, 7)
    assert not same(identity(pay, 7, "x"), identity(pay, 7, None))


def test_key_names_leave_defaults_out_as_well() -> None:
    def pay(employee: int, month: int = 11) -> None:
        """Is never run."""

    def later(employee: int, month: int = 11, run: str = "") -> None:
        """Is never run."""

    def key(function: Callable[..., Any], names: tuple[str, ...], *args: Any) -> str:
        protected = getattr(idempotent_task(key=names)(function), MARK)
        return str(protected.identity(args, {}, bound=False).key_hash)

    assert key(pay, ("employee",), 7) == key(later, ("employee", "run"), 7)
    assert key(pay, ("month", "employee"), 7) == key(later, ("month", "employee", "run"), 7, 11)
    assert key(later, ("month", "run"), 7, 11, "x") != key(later, ("run", "month"), 7, 11, "x")


def test_a_key_function_is_given_what_was_sent() -> None:
    def key(function: Callable[..., Any]) -> str:
        protected = getattr(idempotent_task(key=lambda *args: [*args, None])(function), MARK)
        return str(protected.identity((7,), {}, bound=False).key_hash)

    assert key(lambda employee: 0) == key(lambda employee, note=None: 0)


@commits
def test_a_message_delivered_again_by_the_next_release_does_not_run() -> None:
    ran: list[str] = []

    def release(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__module__, function.__qualname__ = __name__, "pay"
        return idempotent_task(None)(function)

    def pay(employee: int) -> None:
        ran.append("before")

    def pay_with_note(employee: int, note: str | None = None) -> None:
        ran.append(f"after, {note}")

    release(pay)(7)
    after = release(pay_with_note)
    after(7)
    after(employee=7, note=None)
    assert ran == ["before"]
    after(7, "correction")
    assert ran == ["before", "after, correction"]
