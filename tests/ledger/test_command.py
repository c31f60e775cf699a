"""``manage.py ledger``: the same by hand, with errors that say what to do."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from celery import shared_task
from django.core.management import CommandError, call_command

from ledger import idempotent_daily_task, idempotent_task, make_idempotency_key
from ledger.models import ExecutionEvent, State, TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.death import die, dies
from tests.ledger.marks import commits
from tests.ledger.test_claims import Slow
from tests.ledger.threads import PATIENCE, Elsewhere, wait_for

pytestmark = commits

PAY = f"{__name__}.pay"


@shared_task
@idempotent_task()
def pay(employee: int, month: int = 11) -> dict[str, Any]:
    if employee < 0:
        die()
    return {"net": Decimal("10.50"), "on": dt.date(2026, month, 30)}


@shared_task
@idempotent_daily_task()
def report() -> None: ...


def ledger(*arguments: str) -> str:
    out = StringIO()
    call_command("ledger", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as told:
        ledger(*arguments)
    return str(told.value)


class TestStatus:
    def test_it_prints_what_the_ledger_knows(self) -> None:
        pay(7)
        key = make_idempotency_key(PAY, [7])
        printed = ledger("status", PAY, "--args", "[7]")
        lines = dict(
            line.split(maxsplit=1) for line in printed.splitlines() if len(line.split()) > 1
        )
        assert lines["executed"] == "True"
        assert lines["state"] == "completed"
        assert lines["attempt"] == "1"
        assert lines["key"] == key
        assert "10.50" in lines["result"]
        assert printed == ledger("status", PAY, "--kwargs", '{"employee": 7, "month": 11}')
        assert printed == ledger("status", key)

    def test_what_never_ran_is_no_error(self) -> None:
        assert "False" in ledger("status", PAY, "--args", "[8]")

    def test_a_daily_task_is_asked_by_date(self) -> None:
        report()
        assert "True" in ledger("status", report.name)
        assert "True" not in ledger("status", report.name, "--date", "2020-01-01")


class TestClear:
    def test_it_lets_the_call_run_again_and_keeps_who_and_why(self) -> None:
        pay(7)
        printed = ledger("clear", PAY, "--args", "[7]", "--reason", "wrong hours", "--actor", "ana")
        assert make_idempotency_key(PAY, [7]) in printed
        event = ExecutionEvent.objects.get()
        assert (event.kind, event.actor, event.reason) == ("retired", "ana", "wrong hours")
        pay(7)
        assert TaskExecution.objects.count() == 2

    def test_a_whole_key_will_do(self) -> None:
        pay(7)
        ledger("clear", make_idempotency_key(PAY, [7]), "--reason", "test")
        assert TaskExecution.objects.get().retired_at is not None

    def test_without_a_reason_it_does_nothing(self) -> None:
        pay(7)
        assert "--reason" in refused("clear", PAY, "--args", "[7]")
        assert TaskExecution.objects.get().retired_at is None

    def test_what_is_not_there_is_an_error_that_names_the_key(self) -> None:
        told = refused("clear", PAY, "--args", "[8]", "--reason", "test")
        assert make_idempotency_key(PAY, [8]) in told
        assert "ledger status" in told

    def test_what_is_running_is_refused(self) -> None:
        slow = Slow()
        with Elsewhere() as elsewhere:
            running = elsewhere.call(slow.task, 7)
            wait_for(slow.inside)
            try:
                key = TaskExecution.objects.get().key
                assert "cannot be cleared" in refused("clear", key, "--reason", "test")
            finally:
                slow.go_on.set()
            assert running.result(PATIENCE) == "paid"


class TestSweepAndRecover:
    def test_sweep_says_how_many(self, clock: Clock) -> None:
        pay(7)
        assert "Retired 0, purged 0." in ledger("sweep")
        clock.forward(hours=25)
        assert "Retired 1, purged 0." in ledger("sweep")
        clock.forward(days=401)
        assert "Retired 0, purged 1." in ledger("sweep")

    def test_recover_lists_what_has_no_worker(self, clock: Clock) -> None:
        dies(pay, -1)
        clock.forward(minutes=1)
        printed = ledger("recover")
        assert make_idempotency_key(PAY, [-1]) in printed
        assert "1 without a worker" in printed
        assert "0 without a worker" in ledger("recover")
        assert TaskExecution.objects.get().state == State.FAILED
        assert ExecutionEvent.objects.get().actor == "manage.py ledger recover"


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["status", PAY, "--args", "7,8"], "--args is not JSON"),
            (["status", PAY, "--args", '{"employee": 7}'], "--args must be a list"),
            (["status", PAY, "--kwargs", "[7]"], "--kwargs must be an object"),
            (["status", PAY, "--kwargs", "{employee: 7}"], "--kwargs is not JSON"),
            (["status", PAY], "missing a required argument: 'employee'"),
            (["status", PAY, "--args", "[1, 2, 3]"], "too many positional arguments"),
            (["status", report.name, "--date", "yesterday"], "write a date as 2026-11-30"),
            (["--database", "nowhere", "sweep"], "There is no database 'nowhere'"),
            (["--database", "nowhere", "sweep"], "default, second"),
            ([], "verb"),
            (["destroy"], "invalid choice"),
        ],
    )
    def test_it_is_refused_with_what_to_do(self, arguments: list[str], problem: str) -> None:
        assert problem in refused(*arguments)
