"""Follow-ups on real workers, whatever dies between a commit and its announcement."""

from __future__ import annotations

from functools import partial

import pytest
from celery import chain, chord, group
from celery.canvas import Signature

from ledger import current_execution, idempotent_task, outbox
from ledger.models import ExecutionEvent, OutboxMessage
from ledger.outbox import relay
from ledger.testing import Clock, Worker, crash_at
from tests.ledger.guarantees.tasks import announced, follow_up, follow_up_of, total
from tests.ledger.marks import commits
from tests.testapp.models import Effect
from tests.workers import wait_until

pytestmark = commits


def has_run(key: str) -> bool:
    return bool(effects(key))


def effects(key: str) -> list[str]:
    return list(Effect.objects.filter(key=key).values_list("note", flat=True))


def test_a_follow_up_runs_under_the_id_that_was_fixed_with_the_commit(
    worker: Worker, key: str
) -> None:
    announced.delay(key, f"{key} next").get(timeout=30)

    wait_until(lambda: effects(f"{key} next"))
    message = OutboxMessage.objects.get()
    assert effects(f"{key} next") == [message.task_id]
    assert (message.tries, message.error) == (1, "")


@pytest.mark.parametrize("point", ["in_body", "before_commit"])
def test_a_worker_killed_before_the_commit_has_announced_nothing(
    worker: Worker, key: str, point: str
) -> None:
    with crash_at(point) as crash:
        result = announced.delay(key, f"{key} next")
    crash.wait()
    result.get(timeout=30)

    wait_until(lambda: effects(f"{key} next"))
    message = OutboxMessage.objects.get()  # that of the second attempt alone
    assert effects(f"{key} next") == [message.task_id]
    assert effects(key) == ["announced"]


def test_a_worker_killed_between_commit_and_publishing_leaves_it_to_the_relay(
    worker: Worker, key: str, clock: Clock
) -> None:
    """The duplicate that is delivered then is answered, and announces nothing any more."""
    nexts = [f"{key} {n}" for n in range(3)]
    with crash_at("after_commit") as crash:
        result = announced.delay(key, *nexts)
    crash.wait()
    assert result.get(timeout=30) == key
    assert OutboxMessage.objects.filter(published_at=None, tries=0).count() == 3
    assert [effects(one) for one in nexts] == [[], [], []]

    clock.forward(seconds=11)
    assert relay() == 3

    for one in nexts:
        wait_until(partial(has_run, one))
    ids = OutboxMessage.objects.order_by("id").values_list("task_id", flat=True)
    assert [effects(one) for one in nexts] == [[id] for id in ids]
    assert relay() == 0


def test_a_follow_up_that_is_published_twice_takes_effect_once(
    worker: Worker, key: str, clock: Clock
) -> None:
    """A crash between the broker's and the database's word makes it so."""
    announced.delay(key, f"{key} next").get(timeout=30)
    wait_until(lambda: OutboxMessage.objects.exclude(published_at=None).exists())
    OutboxMessage.objects.update(published_at=None)
    clock.forward(seconds=11)

    assert relay() == 1

    second = ExecutionEvent.objects.filter(kind="skipped", execution__task_name=follow_up.name)
    wait_until(second.exists, what="the second delivery")
    assert len(effects(f"{key} next")) == 1


@pytest.mark.parametrize("way", ["at the commit", "by the relay"])
@pytest.mark.parametrize("kind", ["chain", "group", "chord"])
def test_a_canvas_is_a_follow_up_like_any_other(
    worker: Worker, key: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str, kind: str
) -> None:
    first, second, third = (f"{key} {n}" for n in (1, 2, 3))
    canvas: Signature = {
        "chain": lambda: chain(follow_up.s(first), follow_up_of.s(second), follow_up_of.s(third)),
        "group": lambda: group(follow_up.s(one) for one in (first, second, third)),
        "chord": lambda: chord([follow_up.s(first), follow_up.s(second)], total.s(third)),
    }[kind]()

    @idempotent_task()
    def sending() -> str:
        return str(current_execution().enqueue(canvas).id)

    if way == "by the relay":
        monkeypatch.setattr(outbox, "publish", lambda database, ids: 0)  # as if it had died
    id = sending()
    monkeypatch.undo()
    if way == "by the relay":
        clock.forward(seconds=11)
        assert relay() == 1

    for one in (first, second, third):
        wait_until(partial(has_run, one), what=one)
    assert [len(effects(one)) for one in (first, second, third)] == [1, 1, 1]
    if kind == "chain":
        assert effects(second) == [first]
        assert effects(third) == [f"{first}, {second}"]
    if kind == "chord":
        assert effects(third) == [f"{first} + {second}"]
    assert OutboxMessage.objects.get().task_id == id
