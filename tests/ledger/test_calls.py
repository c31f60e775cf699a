"""Which calls are the same: however they are spelled, and whoever asks for their key."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Task, shared_task
from hypothesis import given
from hypothesis import strategies as st

from ledger import (
    UnusableArgument,
    current_execution,
    idempotent_daily_task,
    idempotent_task,
    make_idempotency_key,
)
from ledger.models import TaskExecution
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits


@idempotent_task()
def pay(employee: int, year: int = 2026, month: int = 11, *, dry: bool = False) -> str:
    return current_execution().key


@idempotent_task()
def gather(first: int, *rest: int, sep: str = ",", **named: int) -> str:
    return current_execution().key


@shared_task
@idempotent_task()
def unbound(employee: int, month: int = 11) -> str:
    return current_execution().key


@shared_task(bind=True)
@idempotent_task()
def bound(self: Task, employee: int, month: int = 11) -> str:
    return current_execution().key


@shared_task(bind=True, name="payroll.renamed")
@idempotent_task()
def bound_as_task(task: Task, employee: int, month: int = 11) -> str:
    return current_execution().key


@shared_task(bind=True, autoretry_for=(ConnectionError,), max_retries=2)
@idempotent_task()
def retrying(self: Task, employee: int, month: int = 11) -> str:
    return current_execution().key


@shared_task
@idempotent_daily_task()
def daily(employee: int) -> str:
    return current_execution().key


PAY = f"{__name__}.pay"
GATHER = f"{__name__}.gather"


@st.composite
def spellings(draw: st.DrawFn) -> tuple[list[Any], dict[str, Any], list[Any], dict[str, Any]]:
    """One call of ``pay`` spelled at will, and the same with everything by position."""
    values = {
        "employee": draw(st.integers(0, 3)),
        "year": draw(st.sampled_from([2025, 2026])),
        "month": draw(st.integers(10, 12)),
    }
    dry = draw(st.booleans())
    by_position = draw(st.integers(0, 3))
    args = list(values.values())[:by_position]
    kwargs = {"dry": dry} | dict(list(values.items())[by_position:])
    for name, default in {"year": 2026, "month": 11, "dry": False}.items():
        if name in kwargs and kwargs[name] == default and draw(st.booleans()):
            del kwargs[name]
    shuffled = {name: kwargs[name] for name in draw(st.permutations(list(kwargs)))}
    return args, shuffled, list(values.values()), {"dry": dry}


class TestSpelling:
    @given(spellings())
    def test_a_call_has_one_key_however_it_is_spelled(self, call: Any) -> None:
        args, kwargs, full_args, full_kwargs = call
        assert make_idempotency_key(PAY, args, kwargs) == make_idempotency_key(
            PAY, full_args, full_kwargs
        )

    @given(spellings(), spellings())
    def test_calls_with_other_values_have_other_keys(self, one: Any, other: Any) -> None:
        same_key = make_idempotency_key(PAY, *one[:2]) == make_idempotency_key(PAY, *other[:2])
        assert same_key == (one[2:] == other[2:])

    def test_keyword_only_arguments_stand_by_name(self) -> None:
        assert make_idempotency_key(PAY, [7, 2026, 11], {"dry": False}) == make_idempotency_key(
            PAY, [7]
        )
        assert make_idempotency_key(PAY, [7], {"dry": True}) != make_idempotency_key(PAY, [7])

    def test_surplus_arguments_are_told_apart_by_place_and_name(self) -> None:
        calls: list[tuple[list[int], dict[str, Any]]] = [
            ([1], {}),
            ([1, 2], {}),
            ([1, 2, 3], {}),
            ([1, 3, 2], {}),
            ([1], {"x": 2}),
            ([1], {"y": 2}),
            ([1, 2], {"x": 2}),
            ([1], {"sep": ";"}),
        ]
        assert len({make_idempotency_key(GATHER, *call) for call in calls}) == len(calls)
        assert make_idempotency_key(GATHER, [], {"first": 1}) == make_idempotency_key(GATHER, [1])

    @pytest.mark.parametrize("call", [([], {}), ([1, 2, 3, 4], {}), ([1], {"wrong": 2})])
    def test_a_call_that_python_would_refuse_is_refused_by_the_functions_name(
        self, call: Any
    ) -> None:
        with pytest.raises(TypeError, match=r"test_calls\.pay\(\)"):
            make_idempotency_key(PAY, *call)
        with pytest.raises(TypeError, match=r"test_calls\.pay\(\)"):
            pay(*call[0], **call[1])

    def test_an_unusable_argument_is_refused_by_function_and_place(self) -> None:
        with pytest.raises(UnusableArgument, match=r"test_calls\.pay: argument 0 is a .*object"):
            pay(object())  # type: ignore[arg-type]


@commits
class TestTheKeyOfTheRun:
    """``make_idempotency_key`` against the key that the run itself had."""

    @pytest.mark.parametrize("task", [unbound, bound, bound_as_task, retrying])
    def test_it_is_the_key_of_a_direct_call(self, task: Any) -> None:
        expected = make_idempotency_key(task.name, [7])
        assert task(7) == task(employee=7, month=11) == expected
        assert TaskExecution.objects.get().key == expected
        assert TaskExecution.objects.get().task_name == task.name

    @pytest.mark.parametrize("task", [unbound, bound, bound_as_task, retrying])
    def test_it_is_the_key_of_a_delivered_message(self, task: Any, inbox: Inbox) -> None:
        task.delay(7)
        task.apply_async(kwargs={"month": 11, "employee": 7})
        assert inbox.take().run() == inbox.take().run() == make_idempotency_key(task.name, [7])

    @pytest.mark.parametrize("task", [unbound, bound, bound_as_task, retrying])
    def test_it_is_the_key_of_an_eager_call(self, task: Any) -> None:
        assert task.apply((7,)).get() == make_idempotency_key(task.name, [7])

    def test_it_is_the_key_of_a_plain_function(self) -> None:
        assert pay(7) == make_idempotency_key(PAY, [7])

    def test_a_plain_call_agrees_with_an_unregistered_name(self) -> None:
        @idempotent_task()
        def book(self: Any, employee: int, month: int) -> str:
            return current_execution().key

        key = book(SimpleNamespace(name="another.project.book"), 7, 11)
        assert key == make_idempotency_key("another.project.book", [7, 11])

    @pytest.mark.parametrize("me", [SimpleNamespace(), SimpleNamespace(name=""), None])
    def test_a_self_without_a_name_leaves_the_functions_own(self, me: Any) -> None:
        @idempotent_task()
        def named_by_function(self: Any, employee: int) -> str:
            return current_execution().key

        key = named_by_function(me, 7)
        assert f"{__name__}.{type(self).__qualname__}" in key
        assert ".named_by_function:" in key

    def test_what_self_is_does_not_matter(self) -> None:
        ran: list[Any] = []

        @idempotent_task()
        def method(self: Any, employee: int) -> None:
            ran.append(self)

        one, other = SimpleNamespace(name="t"), SimpleNamespace(name="t", something=object())
        method(one, 7)
        method(other, 7)
        assert ran == [one]

    def test_a_default_may_be_written_out_or_left_out(self) -> None:
        assert pay(7) == pay(7, 2026) == pay(7, 2026, month=11) == pay(dry=False, employee=7)
        assert TaskExecution.objects.count() == 1

    def test_arguments_are_kept_by_name_for_people(self) -> None:
        gather(1, 2, 3, extra=4)
        assert TaskExecution.objects.get().arguments == {
            "first": 1,
            "rest": [2, 3],
            "sep": ",",
            "named": {"extra": 4},
        }

    def test_a_nested_call_has_its_own_name_and_key(self) -> None:
        @idempotent_task()
        def outer(self: Any) -> list[str]:
            return [unbound(1), bound(2), pay(3)]

        expected = [(unbound.name, 1), (bound.name, 2), (PAY, 3)]
        assert outer(SimpleNamespace(name="outer")) == [
            make_idempotency_key(name, [employee]) for name, employee in expected
        ]


@commits
class TestBusinessDate:
    def test_the_date_is_pinned_when_the_message_is_published(
        self, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ledger.periods.now", lambda: dt.datetime(2026, 10, 31, 9))
        daily.delay(7)
        monkeypatch.setattr("ledger.periods.now", lambda: dt.datetime(2026, 11, 1, 9))

        assert inbox.take().run().endswith(":2026-10-31")
        assert TaskExecution.objects.get().period == "2026-10-31"
        assert daily(7).endswith(":2026-11-01")

    def test_a_header_backfills_another_day(self, inbox: Inbox) -> None:
        daily.apply_async((7,), headers={"ledger_period": "2024-02-29"})
        assert inbox.take().run() == make_idempotency_key(daily.name, [7], date="2024-02-29")

    def test_a_header_that_is_no_date_fails_before_anything_runs(self, inbox: Inbox) -> None:
        daily.apply_async((7,), headers={"ledger_period": "yesterday"})
        error = inbox.take().run()
        assert isinstance(error, UnusableArgument)
        assert "ledger_period" in str(error)
        assert not TaskExecution.objects.exists()

    def test_a_daily_tasks_name_is_enough_for_its_dated_key(self) -> None:
        assert make_idempotency_key(daily.name, [7], date="2026-11-24").endswith(":2026-11-24")

    @pytest.mark.parametrize(
        ("zone", "day"),
        [
            ("Pacific/Kiritimati", dt.date(2026, 11, 25)),
            ("Pacific/Pago_Pago", dt.date(2026, 11, 24)),
        ],
    )
    def test_today_is_of_the_projects_time_zone(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch, zone: str, day: dt.date
    ) -> None:
        class Evening(dt.datetime):
            @classmethod
            def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
                return dt.datetime(2026, 11, 24, 23, tzinfo=dt.UTC).astimezone(tz)

        settings.TIME_ZONE = zone
        monkeypatch.setattr("ledger.periods.dt.datetime", Evening)
        assert make_idempotency_key("t", date_based=True).endswith(f":{day}")
