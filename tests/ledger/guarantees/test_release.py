"""A person decides about what is held, once, and the decision can be read afterwards."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ledger import (
    DuplicateExecution,
    ExecutionHeld,
    ExecutionInProgress,
    LedgerError,
    UnstorableResult,
    check_idempotency_status,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
    make_idempotency_key,
    release,
)
from ledger.models import ExecutionEvent, TaskExecution
from ledger.sweep import sweep
from ledger.testing import Clock
from tests.ledger.marks import commits
from tests.ledger.threads import at_once
from tests.testapp.models import Effect

pytestmark = commits


class Held:
    """A transfer whose first attempt failed, so that nobody knows whether it was booked."""

    def __init__(self, **options: Any) -> None:
        self.keys: list[str] = []

        @idempotent_task(guarantee="at_most_once", **options)
        def transfer(number: int) -> str:
            execution = current_execution()
            Effect.objects.create(key=str(number), note=str(execution.attempt))
            self.keys.append(execution.idempotency_key)
            if len(self.keys) == 1:
                raise ConnectionError("no answer")
            return "booked"

        self.task: Any = transfer
        self.name = f"{transfer.__module__}.{transfer.__qualname__}"
        with pytest.raises(ConnectionError):
            transfer(7)
        self.key = TaskExecution.objects.get().key


def story() -> list[str]:
    return list(ExecutionEvent.objects.order_by("id").values_list("kind", flat=True))


def test_as_completed_it_answers_duplicates_with_the_given_result() -> None:
    held = Held(ttl_hours=2)
    result = {"booked": Decimal("10.00"), "on": dt.date(2026, 11, 30)}

    release(held.key, "completed", result=result, reason="it is on the statement", actor="ana")

    assert held.task(7) == result
    assert len(held.keys) == 1
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt, row.crashes) == ("completed", 1, 0)
    assert row.completed_at is not None
    assert row.expires_at == row.completed_at + dt.timedelta(hours=2)
    assert story() == ["failed", "held", "released", "skipped"]
    event = ExecutionEvent.objects.get(kind="released")
    assert (event.actor, event.reason, event.attempt) == (
        "ana", "completed: it is on the statement", 1
    )  # fmt: skip


def test_as_completed_it_is_a_duplicate_in_strict_mode() -> None:
    held = Held(skip_on_duplicate=False)
    release(held.key, "completed", reason="booked")
    with pytest.raises(DuplicateExecution):
        held.task(7)


def test_as_completed_it_expires_like_any_other(clock: Clock) -> None:
    held = Held(ttl_hours=2)
    release(held.key, "completed", reason="booked")
    clock.forward(hours=3)
    assert sweep()["retired"] == 1


def test_as_failed_the_next_delivery_runs_the_next_attempt_under_the_same_key() -> None:
    held = Held()
    release(held.key, "failed", reason="the bank knows nothing of it", actor="ana")

    assert held.task(7) == "booked"

    assert held.keys[0] == held.keys[1]
    row = TaskExecution.objects.get()
    assert (row.state, row.attempt) == ("completed", 2)
    assert ExecutionEvent.objects.get(kind="released").reason.startswith("failed: ")


def test_as_retired_the_next_delivery_runs_a_new_execution_under_a_new_key() -> None:
    held = Held()
    release(held.key, "retired", reason="order it anew", actor="ana")

    assert held.task(7) == "booked"

    assert held.keys[0] != held.keys[1]
    old, new = TaskExecution.objects.order_by("id")
    assert (old.state, old.retired_reason) == ("held", "released: order it anew")
    assert old.retired_at is not None
    assert (new.state, new.attempt) == ("completed", 1)


def test_of_many_decisions_at_once_one_wins_and_the_others_are_told() -> None:
    held = Held()
    outcomes = at_once(
        6, lambda i: release(held.key, ["completed", "failed", "retired"][i % 3], reason=f"{i}")
    )

    told = [outcome for outcome in outcomes if isinstance(outcome, LedgerError)]
    assert outcomes.count(None) == 1
    assert len(told) == 5
    assert story() == ["failed", "held", "released"]


def test_what_its_workers_died_of_is_released_alike() -> None:
    held = Held()
    TaskExecution.objects.update(crashes=4)
    release(held.key, "failed", reason="more memory")
    assert held.task(7) == "booked"


def test_clearing_lets_it_run_anew_too() -> None:
    held = Held()
    assert clear_idempotency_key(held.name, [7], reason="order it anew")
    assert held.task(7) == "booked"


class TestRefusals:
    @pytest.mark.parametrize("state", ["completed", "failed"])
    def test_what_is_not_held_is_not_released(self, state: str) -> None:
        @idempotent_task(guarantee="at_least_once")
        def task() -> None:
            if state == "failed":
                raise ValueError

        if state == "failed":
            with pytest.raises(ValueError):  # noqa: PT011
                task()
        else:
            task()
        key = TaskExecution.objects.get().key
        with pytest.raises(LedgerError, match=r"idempotent:.*it is not held.*clear it"):
            release(key, "completed", reason="booked")
        assert TaskExecution.objects.get().state == state

    def test_what_is_not_there_is_not_released(self) -> None:
        key = make_idempotency_key("unheard.of", [7])
        with pytest.raises(LedgerError, match=f"{key} cannot be released: there is none"):
            release(key, "failed", reason="why")

    def test_what_is_no_key_is_not_released(self) -> None:
        with pytest.raises(LedgerError, match=r"'pay' is no key"):
            release("pay", "failed", reason="why")

    def test_what_runs_is_not_released(self) -> None:
        @idempotent_task(guarantee="at_most_once")
        def task() -> None:
            with pytest.raises(ExecutionInProgress):
                release(current_execution().key, "completed", reason="too early")

        task()

    @pytest.mark.parametrize(
        ("outcome", "more", "error", "message"),
        [
            ("paid", {}, LedgerError, "outcome='paid'.*'completed', 'failed' or 'retired'"),
            ("failed", {"result": 1}, LedgerError, "result= belongs to outcome='completed'"),
            ("completed", {"reason": "  "}, LedgerError, "reason= is required"),
            ("completed", {"result": object()}, UnstorableResult, "cannot be stored as JSON"),
        ],
    )
    def test_what_makes_no_sense_changes_nothing(
        self, outcome: str, more: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        held = Held()
        with pytest.raises(error, match=message):
            release(held.key, outcome, **{"reason": "why", **more})
        assert TaskExecution.objects.get().state == "held"
        assert story() == ["failed", "held"]
        with pytest.raises(ExecutionHeld):
            held.task(7)

    def test_hostile_text_is_kept_as_far_as_it_can_be(self) -> None:
        held = Held()
        release(held.key, "failed", reason="nul \x00 and \ud800 " + "x" * 300, actor="a" * 999)
        event = ExecutionEvent.objects.get(kind="released")
        assert event.reason.startswith("failed: nul \ufffd and ? xxx")
        assert event.actor == "a" * 255


class TestCommand:
    def run(self, *arguments: str) -> str:
        out = StringIO()
        call_command("ledger", "release", *arguments, stdout=out)
        return out.getvalue()

    def test_it_releases_by_name_and_arguments(self) -> None:
        held = Held()
        told = self.run(
            held.name, "--args", "[7]", "--as", "completed", "--result", '{"booked": "10.00"}',
            "--reason", "it is on the statement", "--actor", "ana",
        )  # fmt: skip
        assert told == f"Released {held.key} as completed.\n"
        assert held.task(7) == {"booked": "10.00"}
        event = ExecutionEvent.objects.get(kind="released")
        assert (event.actor, event.reason) == ("ana", "completed: it is on the statement")

    def test_it_releases_by_the_key_that_the_error_names(self) -> None:
        held = Held()
        self.run(held.key, "--as", "failed", "--reason", "not booked")
        assert check_idempotency_status(held.name, [7])["state"] == "failed"

    def test_what_cannot_be_done_is_said(self) -> None:
        held = Held()
        self.run(held.key, "--as", "retired", "--reason", "anew")
        with pytest.raises(CommandError, match="there is none"):
            self.run(held.key, "--as", "retired", "--reason", "anew")
        with pytest.raises(CommandError, match="--result is not JSON"):
            self.run(held.key, "--as", "completed", "--reason", "x", "--result", "{")
