"""What an execution wrote is remembered with its completion, or not at all, and costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import UnusableArgument, current_execution, idempotent_task
from ledger.models import ExecutionObject, TaskExecution
from ledger.sweep import sweep
from ledger.testing import Clock
from ledger.written import executions_of
from tests.ledger.marks import commits
from tests.ledger.wire import Wire
from tests.testapp.models import Effect

pytestmark = commits

GUARANTEES = ["exactly_once", "at_least_once", "at_most_once"]


def remembered() -> list[tuple[str, str, str]]:
    rows = ExecutionObject.objects.order_by("id")
    return list(rows.values_list("model", "object_id", "label"))


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_it_is_remembered_by_model_key_and_name(guarantee: str) -> None:
    @idempotent_task(guarantee=guarantee)
    def write() -> list[int]:
        effects = [Effect.objects.create(key=key) for key in ("a'", "b\\")]
        current_execution().wrote(*effects)
        current_execution().wrote(effects[0])
        return [effect.pk for effect in effects]

    first, second = write()
    labels = [str(effect) for effect in Effect.objects.order_by("id")]
    assert remembered() == [
        ("testapp.effect", str(first), labels[0]),
        ("testapp.effect", str(second), labels[1]),
    ]
    write()
    assert len(remembered()) == 2
    row = TaskExecution.objects.get()
    assert list(executions_of(Effect.objects.get(pk=first))) == [row]
    assert not executions_of(Effect(pk=-1)).exists()


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_failure_remembers_nothing(guarantee: str) -> None:
    @idempotent_task(guarantee=guarantee)
    def fail() -> None:
        current_execution().wrote(Effect.objects.create(key="a"))
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        fail()
    assert remembered() == []


def test_a_step_remembers_with_its_own_commit() -> None:
    failing = [True]

    def part(key: str) -> None:
        current_execution().wrote(Effect.objects.create(key=key))
        if key == "two" and failing:
            failing.clear()
            raise ValueError

    @idempotent_task(guarantee="at_least_once")
    def job() -> None:
        for key in ("one", "two"):
            current_execution().step(key, part, key)

    with pytest.raises(ValueError):  # noqa: PT011
        job()
    assert [key for _, key, _ in remembered()] == [str(Effect.objects.get(key="one").pk)]
    job()
    kept = Effect.objects.filter(key__in=("one", "two")).values_list("pk", flat=True)
    assert sorted(key for _, key, _ in remembered()) == sorted(map(str, kept))


def test_a_step_that_failed_leaves_nothing_behind() -> None:
    def part() -> None:
        current_execution().wrote(Effect.objects.create(key="undone"))
        raise ValueError

    @idempotent_task(guarantee="at_least_once")
    def job() -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            current_execution().step("part", part)
        current_execution().wrote(Effect.objects.create(key="done"))

    job()
    assert [key for _, key, _ in remembered()] == [str(Effect.objects.get().pk)]


def test_a_nested_execution_keeps_its_own() -> None:
    @idempotent_task()
    def inner() -> None:
        current_execution().wrote(Effect.objects.create(key="inner"))

    @idempotent_task()
    def outer() -> None:
        inner()
        current_execution().wrote(Effect.objects.create(key="outer"))

    outer()
    by = {row.execution.task_name.rsplit(".")[-1]: row for row in ExecutionObject.objects.all()}
    for name in ("inner", "outer"):
        assert by[name].object_id == str(Effect.objects.get(key=name).pk)


def test_it_takes_no_round_trip_and_nothing_where_it_is_not_used(wire: Wire) -> None:
    @idempotent_task()
    def write(used: bool) -> None:
        if used:
            current_execution().wrote(Effect(pk=1, key="x"))

    with wire.watched() as without:
        write(False)
    with wire.watched() as with_it:
        write(True)
    assert len(without.sent) == len(with_it.sent) == 2
    assert not [sql for sql in without.sent if "executionobject" in sql]
    assert with_it.statements.count("insert") == without.statements.count("insert") + 1


@pytest.mark.parametrize(
    ("thing", "what"), [(7, "not a int"), (Effect(key="x"), "not an unsaved Effect")]
)
def test_what_is_no_saved_object_is_refused(thing: Any, what: str) -> None:
    @idempotent_task()
    def write() -> None:
        current_execution().wrote(thing)

    with pytest.raises(UnusableArgument, match=what):
        write()


def test_it_is_purged_with_its_execution(clock: Clock) -> None:
    @idempotent_task(ttl_hours=1)
    def write() -> None:
        current_execution().wrote(Effect.objects.create(key="a"))

    write()
    clock.forward(hours=2)
    sweep()
    assert len(remembered()) == 1
    clock.forward(days=500)
    assert sweep()["purged"] == 1
    assert remembered() == []
