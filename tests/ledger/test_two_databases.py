"""``using=``: the ledger lives where the effects live, in whichever database that is."""

from __future__ import annotations

import pytest
from django.db import connections, transaction

from ledger import (
    ExecutionInProgress,
    UnusableArgument,
    check_idempotency_status,
    clear_idempotency_key,
    idempotent_task,
    make_idempotency_key,
)
from ledger.models import State, TaskExecution
from ledger.sweep import recover, sweep
from ledger.tasks import sweep as sweep_task
from ledger.testing import Clock
from tests.ledger.marks import commits_in_both
from tests.testapp.models import Effect

pytestmark = commits_in_both

SHARDED = f"{__name__}.sharded"


@idempotent_task(using="second")
def second(employee: int) -> int:
    if employee < 0:
        Effect.objects.using("second").create(key="before the failure")
        raise ValueError("nobody")
    return Effect.objects.using("second").create(key=str(employee)).pk


@idempotent_task(using=lambda employee, shard="default": shard)
def sharded(employee: int, shard: str = "default") -> str:
    Effect.objects.using(shard).create(key=str(employee))
    return shard


def count(database: str) -> tuple[int, int]:
    return (
        TaskExecution.objects.using(database).count(),
        Effect.objects.using(database).count(),
    )


def test_they_are_really_two() -> None:
    names = {connections[alias].settings_dict["NAME"] for alias in ("default", "second")}
    assert len(names) == 2


def test_an_alias_leads_there() -> None:
    assert second(7) == second(7)
    assert (count("default"), count("second")) == ((0, 0), (1, 1))


def test_effects_there_and_completion_are_one() -> None:
    with pytest.raises(ValueError, match="nobody"):
        second(-1)
    assert count("second") == (1, 0)
    assert TaskExecution.objects.using("second").get().state == State.FAILED


def test_a_callable_of_the_arguments_chooses() -> None:
    assert [sharded(1), sharded(2, "second"), sharded(2, shard="second")] == [
        "default",
        "second",
        "second",
    ]
    assert (count("default"), count("second")) == ((1, 1), (1, 1))


def test_the_utilities_look_where_the_run_was() -> None:
    sharded(2, "second")
    assert check_idempotency_status(SHARDED, [2, "second"])["executed"] is True
    assert clear_idempotency_key(SHARDED, [2, "second"], reason="test") is True
    assert check_idempotency_status(SHARDED, [2, "second"])["executed"] is False
    assert TaskExecution.objects.using("second").get().retired_at is not None


def test_an_open_transaction_elsewhere_is_not_joined() -> None:
    with transaction.atomic(using="default"):
        second(7)
        Effect.objects.create(key="rolled back")
        transaction.set_rollback(True, using="default")
    assert (count("default"), count("second")) == ((0, 0), (1, 1))


def test_an_open_transaction_there_is_joined() -> None:
    with transaction.atomic(using="second"):
        second(7)
        transaction.set_rollback(True, using="second")
    assert count("second") == (0, 0)


def test_a_body_may_call_a_task_of_the_other_database() -> None:
    @idempotent_task()
    def outer() -> int:
        Effect.objects.create(key="outer")
        return second(7)

    outer()
    assert (count("default"), count("second")) == ((1, 1), (1, 1))


def test_a_key_that_runs_in_one_does_not_run_in_the_other_unnoticed() -> None:
    """One key in two databases is two executions; only calling oneself is refused."""
    seen: list[str] = []

    @idempotent_task(key="employee", using=lambda employee, shard: shard)
    def once_a_shard(employee: int, shard: str) -> None:
        seen.append(shard)
        if shard == "default":
            once_a_shard(employee, "second")
            with pytest.raises(ExecutionInProgress):
                once_a_shard(employee, "default")

    once_a_shard(7, "default")
    assert seen == ["default", "second"]


def test_an_alias_that_does_not_exist_is_refused_by_name() -> None:
    for ask in (
        lambda: sharded(1, "third"),
        lambda: check_idempotency_status(SHARDED, [1, "third"]),
        lambda: make_idempotency_key(SHARDED, [1, "third"]),
    ):
        with pytest.raises(
            UnusableArgument, match=r"sharded: using= names .*'third'.*default, second"
        ):
            ask()


def test_sweeping_is_told_which() -> None:
    second(7)
    clock = Clock("second")
    clock.forward(hours=25)
    try:
        assert sweep()["retired"] == 0
        assert sweep_task.apply(("second",)).get() == {"retired": 1, "purged": 0}
    finally:
        clock.back()
    assert recover("second") == []
