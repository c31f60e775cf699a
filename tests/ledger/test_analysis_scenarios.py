"""The scenarios that the ledger was asked for, category by category and in their own call shapes.

``self`` is any object with a ``name``, as Celery's bound task is one.
"""

from __future__ import annotations

import datetime as dt
import re
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from ledger import (
    DuplicateExecution,
    check_idempotency_status,
    clear_idempotency_key,
    idempotent_daily_task,
    idempotent_once,
    idempotent_task,
    make_idempotency_key,
    periods,
    recent,
)
from ledger.models import TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.marks import commits
from tests.ledger.wire import Wire
from tests.testapp.models import Effect

pytestmark = commits

NAME = "reports.generate"


@pytest.fixture(autouse=True, params=["in one process", "in another process each time"])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process remembers of its own runs must make no difference."""
    if request.param != "in one process":
        monkeypatch.setattr(recent, "remember", lambda database, key: None)


@pytest.fixture
def me() -> SimpleNamespace:
    return SimpleNamespace(name=NAME)


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """``days.today`` is the business date of direct calls."""
    days = SimpleNamespace(today=dt.date(2025, 10, 31))
    monkeypatch.setattr(periods, "now", lambda: dt.datetime.combine(days.today, dt.time(9)))
    return days


class TestIdempotencyKey:
    def test_a_key_is_the_task_and_a_hash_of_its_arguments(self) -> None:
        key = make_idempotency_key("process_payroll", [7, 2025, 10])
        assert re.fullmatch(r"idempotent:process_payroll:[0-9a-f]{64}", key)

    def test_equal_arguments_make_equal_keys(self) -> None:
        assert make_idempotency_key("t", [1, "a"], {"b": 2}) == make_idempotency_key(
            "t", [1, "a"], {"b": 2}
        )

    def test_other_arguments_make_other_keys(self) -> None:
        keys = {
            make_idempotency_key("t", args, kwargs)
            for args, kwargs in [([], {}), ([1], {}), ([2], {}), ([1, 2], {}), ([], {"x": 1})]
        }
        assert len(keys) == 5

    def test_another_task_makes_another_key(self) -> None:
        assert make_idempotency_key("one", [1]) != make_idempotency_key("other", [1])

    def test_the_order_of_keyword_arguments_does_not_matter(self) -> None:
        assert make_idempotency_key("t", kwargs={"a": 1, "b": 2}) == make_idempotency_key(
            "t", kwargs={"b": 2, "a": 1}
        )

    def test_a_date_based_key_ends_with_the_date(self) -> None:
        day = dt.date(2025, 10, 31)
        dated = make_idempotency_key("t", [1], date_based=True, date=day)
        assert dated == make_idempotency_key("t", [1]) + ":2025-10-31"
        assert dated != make_idempotency_key("t", [1], date_based=True, date=dt.date(2025, 11, 1))

    def test_a_date_based_key_without_a_date_is_for_today(self) -> None:
        key = make_idempotency_key("t", [1], date_based=True)
        assert key.endswith(f":{timezone.localdate().isoformat()}")


class TestIdempotentTaskDecorator:
    def test_a_first_execution_runs_and_returns_its_result(self, me: SimpleNamespace) -> None:
        @idempotent_task(ttl_hours=24)
        def task(self: Any) -> dict[str, str]:
            Effect.objects.create(key="report")
            return {"status": "done"}

        assert task(me) == {"status": "done"}
        assert Effect.objects.count() == 1
        assert TaskExecution.objects.get().task_name == NAME

    def test_duplicate_execution_skipped(self, me: SimpleNamespace) -> None:
        execution_count = 0

        @idempotent_task(ttl_hours=24)
        def task(self: Any) -> dict[str, int]:
            nonlocal execution_count
            execution_count += 1
            return {"run": execution_count}

        result1 = task(me)
        result2 = task(me)

        assert execution_count == 1
        assert result1 == result2 == {"run": 1}

    def test_other_arguments_are_another_execution(self, me: SimpleNamespace) -> None:
        @idempotent_task(ttl_hours=24)
        def task(self: Any, employee_id: int, year: int, month: int) -> int:
            Effect.objects.create(key=str(employee_id))
            return employee_id

        assert [task(me, 1, 2025, 10), task(me, 2, 2025, 10), task(me, 1, year=2025, month=10)] == [
            1,
            2,
            1,
        ]
        assert Effect.objects.count() == 2

    def test_exception_not_cached(self, me: SimpleNamespace) -> None:
        execution_count = 0

        @idempotent_task(ttl_hours=24)
        def task(self: Any) -> str:
            nonlocal execution_count
            execution_count += 1
            if execution_count == 1:
                raise ValueError("transient")
            return "done"

        with pytest.raises(ValueError, match="transient"):
            task(me)
        assert task(me) == "done"
        assert execution_count == 2

    def test_strict_mode_raises_on_a_duplicate(self, me: SimpleNamespace) -> None:
        @idempotent_task(ttl_hours=24, skip_on_duplicate=False)
        def financial_transaction(self: Any, transaction_id: str) -> str:
            Effect.objects.create(key=transaction_id)
            return "booked"

        assert financial_transaction(me, "tx-1") == "booked"
        with pytest.raises(RuntimeError, match="already executed") as caught:
            financial_transaction(me, "tx-1")
        assert isinstance(caught.value, DuplicateExecution)
        assert caught.value.result == "booked"
        assert Effect.objects.count() == 1

    def test_after_the_ttl_it_runs_again(self, me: SimpleNamespace, clock: Clock) -> None:
        @idempotent_task(ttl_hours=24)
        def task(self: Any) -> int:
            Effect.objects.create(key="run")
            return Effect.objects.count()

        assert task(me) == 1
        clock.forward(hours=23, minutes=59)
        assert task(me) == 1
        clock.forward(minutes=2)
        assert task(me) == 2
        assert TaskExecution.objects.filter(retired_reason="expired").count() == 1


class TestConvenienceDecorators:
    def test_a_daily_task_runs_once_a_day(self, me: SimpleNamespace, days: SimpleNamespace) -> None:
        @idempotent_daily_task(ttl_hours=48)
        def cleanup_old_logs(self: Any) -> int:
            Effect.objects.create(key="cleanup")
            return Effect.objects.count()

        assert [cleanup_old_logs(me), cleanup_old_logs(me)] == [1, 1]
        days.today = dt.date(2025, 11, 1)
        assert [cleanup_old_logs(me), cleanup_old_logs(me)] == [2, 2]
        periods_of = TaskExecution.objects.order_by("id").values_list("period", flat=True)
        assert list(periods_of) == ["2025-10-31", "2025-11-01"]

    def test_the_same_alert_is_sent_once(self, me: SimpleNamespace, days: SimpleNamespace) -> None:
        @idempotent_once(ttl_hours=24)
        def send_critical_alert(self: Any, alert_type: str, message: str) -> dict[str, str]:
            Effect.objects.create(key=alert_type, note=message)
            return {"sent_at": timezone.now().isoformat()}

        first = send_critical_alert(me, "disk", "full")
        days.today = dt.date(2025, 11, 1)
        assert send_critical_alert(me, "disk", message="full") == first
        assert send_critical_alert(me, "disk", "nearly full") != first
        assert Effect.objects.count() == 2


class TestIdempotencyUtils:
    def test_check_idempotency_status(self, me: SimpleNamespace) -> None:
        @idempotent_task(ttl_hours=24)
        def task(self: Any, report: int) -> str:
            return "done"

        before = check_idempotency_status(NAME, [5])
        assert before["executed"] is False
        assert before["state"] is None

        task(me, 5)

        status = check_idempotency_status(NAME, [5])
        assert status["executed"] is True
        assert status["state"] == "completed"
        assert status["result"] == "done"
        assert status["attempt"] == 1
        assert status["key"] == make_idempotency_key(NAME, [5])
        assert status["expires_at"] - status["completed_at"] == dt.timedelta(hours=24)
        assert check_idempotency_status(NAME, [6])["executed"] is False

    def test_clear_idempotency_key(self, me: SimpleNamespace) -> None:
        @idempotent_task(ttl_hours=24)
        def task(self: Any) -> int:
            Effect.objects.create(key="run")
            return Effect.objects.count()

        assert clear_idempotency_key(NAME) is False
        task(me)
        assert clear_idempotency_key(NAME, reason="the report was wrong", actor="ana") is True
        assert check_idempotency_status(NAME)["executed"] is False
        assert task(me) == 2
        assert TaskExecution.objects.count() == 2  # the past is kept


class TestRetryScenarios:
    def test_a_transient_failure_is_retried_until_it_succeeds_and_then_no_more(
        self, me: SimpleNamespace
    ) -> None:
        attempts: list[int] = []

        @idempotent_once(ttl_hours=24)
        def task(self: Any) -> str:
            attempts.append(1)
            Effect.objects.create(key="written by every attempt")
            if len(attempts) < 3:
                raise ConnectionError("network")
            return "done"

        for _ in range(2):
            with pytest.raises(ConnectionError):
                task(me)
        assert [task(me), task(me), task(me)] == ["done"] * 3
        assert len(attempts) == 3
        assert Effect.objects.count() == 1  # what failed attempts wrote is gone
        row = TaskExecution.objects.get()
        assert (row.attempt, row.crashes) == (3, 0)
        events = row.events.order_by("id").values_list("kind", "attempt")
        assert list(events)[:2] == [("failed", 1), ("failed", 2)]
        assert {kind for kind, _ in events} == {"failed", "skipped"}

    def test_partial_completion_prevents_rerun(self, me: SimpleNamespace) -> None:
        emails_sent = 0

        @idempotent_task(ttl_hours=24)
        def critical_task(self: Any) -> str:
            nonlocal emails_sent
            Effect.objects.create(key="database write")
            emails_sent += 1
            return "done"

        critical_task(me)  # completes; then its worker dies before it acknowledges the message
        critical_task(me)  # and it is delivered again

        assert Effect.objects.count() == 1
        assert emails_sent == 1


class TestPerformance:
    def test_a_skipped_execution_costs_at_most_two_round_trips_and_no_body(
        self, me: SimpleNamespace, wire: Wire
    ) -> None:
        @idempotent_task(ttl_hours=24)
        def task(self: Any) -> str:
            Effect.objects.create(key="expensive")
            return "done"

        with wire.watched() as first:
            task(me)
        with wire.watched() as duplicate:
            task(me)

        assert first.replies == 3  # claim, the body's one insert, completion
        assert 1 <= duplicate.replies <= 2
        assert "insert" not in duplicate.statements
