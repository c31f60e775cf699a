"""Any interleaving of deliveries, deaths, failures, people and housekeeping keeps every promise.

Hypothesis chooses; real workers on real connections do it one step at a time (``stage``); a model
in plain Python says what must come of it (``model``); and after every step both are compared.

    STATEFUL_EXAMPLES=500 pytest tests/ledger/stateful     # other interleavings, and more of them
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings as django_settings
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings

from ledger import guarantees, lookup, outbox, protocol, recent, sweep
from ledger.models import ExecutionEvent, ExecutionStep, OutboxMessage, TaskExecution
from ledger.testing import Clock
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits
from tests.ledger.stateful import tasks
from tests.ledger.stateful.model import Key, Model
from tests.ledger.stateful.stage import (
    PUBLISHED,
    PUBLISHING,
    Here,
    Pauses,
    Stage,
    Stop,
    gated_functions,
    raised,
    returned,
)
from tests.testapp.models import Effect

WORKERS = range(3)
TASKS = {"exactly": tasks.exactly, "least": tasks.least, "most": tasks.most}
KEYS = [Key(task, number) for task in TASKS for number in (1, 2)]
HOURS = {"more than the TTL": 25, "more than the retention": 401 * 24}
"""No sum of these is so close to the TTL or the retention that seconds would matter."""

EXAMPLES, STEPS = 100, 40
PICK = st.integers(0, 5)
"""Which of those that are eligible."""


class Interleavings(RuleBasedStateMachine):
    def __init__(self, stage: Stage, inbox: Inbox, clock: Clock) -> None:
        super().__init__()
        inbox.queue.purge()
        self.inbox = inbox
        self.stage = stage
        self.clock = clock
        self.model = Model()
        self.keys: list[Key] = []
        self.names: dict[Key, str] = {}
        self.numbers = iter(range(1, 1000))
        self.events: dict[int, tuple[Any, ...]] = {}
        self.bodies: dict[int, Key] = {}
        self.cut_bodies: set[int] = set()
        self.is_sound = True

    @initialize(
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True),
        broker_is_up=st.booleans(),
    )
    def begin(self, keys: list[Key], broker_is_up: bool) -> None:
        self.model.broker_is_up = self.stage.broker_is_up = broker_is_up
        self.keys = keys
        self.names = {key: lookup.make_idempotency_key(*self.call(key)) for key in keys}

    # Deliveries

    @precondition(lambda self: self.idle)
    @rule(worker=PICK, key=PICK, hinted=st.booleans())
    def deliver(self, worker: int, key: int, hinted: bool) -> None:
        self._deliver(_of(self.idle, worker), _of(self.keys, key), False, hinted)

    @precondition(lambda self: self.idle)
    @rule(worker=PICK, key=PICK, hinted=st.booleans())
    def deliver_gated(self, worker: int, key: int, hinted: bool) -> None:
        self._deliver(_of(self.idle, worker), _of(self.keys, key), True, hinted)

    def _deliver(self, number: int, key: Key, gated: bool, hinted: bool) -> None:
        def job() -> object:
            recent._completed.clear()
            if hinted:
                recent.remember("default", self.names[key])
            return TASKS[key.task](key.number)

        with self.step(number) as expect:
            expect(self.model.deliver(number, key, gated=gated, hinted=hinted))
            self.stage.worker(number).start(job, gated=gated)

    @precondition(lambda self: self.stopped)
    @rule(worker=PICK)
    def go_on(self, worker: int) -> None:
        self._go_on(_of(self.stopped, worker))

    def _go_on(self, number: int) -> None:
        with self.step(number) as expect:
            expect(self.model.go_on(number))
            self.stage.worker(number).go_on()

    @precondition(lambda self: self.bodies)
    @rule(worker=PICK, stops_publishing=st.sampled_from([None, PUBLISHING, PUBLISHED]))
    def finish(self, worker: int, stops_publishing: Stop | None) -> None:
        self._finish(_of(sorted(self.bodies), worker), stops_publishing)

    def _finish(self, number: int, stops_publishing: Stop | None = None) -> None:
        result = f"result {next(self.numbers)}"
        self.stage.worker(number).stops_publishing = stops_publishing
        with self.step(number) as expect:
            expect(self.model.finish(number, result, stops_publishing))
            self.stage.worker(number).go_on(lambda: result)

    @precondition(lambda self: self.bodies)
    @rule(worker=PICK, error=st.sampled_from([ValueError("no"), tasks.Harmless("no")]))
    def fail(self, worker: int, error: Exception) -> None:
        number = _of(sorted(self.bodies), worker)
        with self.step(number) as expect:
            expect(self.model.fail(number, type(error).__name__))
            self.stage.worker(number).go_on(tasks.raise_(error))

    @precondition(lambda self: self.dividing)
    @rule(worker=PICK, name=st.sampled_from(["step 1", "step 2"]))
    def do_step(self, worker: int, name: str) -> None:
        number = _of(self.dividing, worker)
        order = tasks.do_step(str(self.bodies[number]), name)
        with self.step(number) as expect:
            expect(self.model.step(number, name))
            self.stage.worker(number).go_on(order)

    @precondition(lambda self: self.enqueuing)
    @rule(worker=PICK)
    def enqueue(self, worker: int) -> None:
        number, follow_up = _of(self.enqueuing, worker), next(self.numbers)
        self.stage.worker(number).stops_publishing = None
        with self.step(number) as expect:
            expect(self.model.enqueue(number, follow_up))
            self.stage.worker(number).go_on(tasks.enqueue(follow_up))

    # Faults

    @precondition(lambda self: self.model.deliveries)
    @rule(worker=PICK)
    def crash(self, worker: int) -> None:
        number = _of(sorted(self.model.deliveries), worker)
        self.model.crash(number)
        self.stage.kill(number)
        self.leaves_body(number)
        self.compare()

    @precondition(lambda self: self.cuttable)
    @rule(worker=PICK)
    def cut(self, worker: int) -> None:
        """The worker lives, and so does its body, but the connection that has its lock does not."""
        number = _of(self.cuttable, worker)
        self.model.cut(number)
        self.stage.cut(self.names[self.bodies[number]])
        self.cut_bodies.add(number)
        self.compare()

    @precondition(lambda self: self.model.rows)
    @rule()
    def the_broker_goes_or_comes_back(self) -> None:
        self.model.broker_is_up = self.stage.broker_is_up = not self.stage.broker_is_up

    @precondition(lambda self: self.model.rows)
    @rule(period=st.sampled_from(list(HOURS)))
    def time_passes(self, period: str) -> None:
        if period == "more than the TTL" or not self.model.deliveries:  # nobody runs for a year
            self.model.now += HOURS[period]
            self.clock.forward(hours=HOURS[period])

    # People and housekeeping

    @precondition(lambda self: self.model.rows)
    @rule(key=PICK)
    def clear(self, key: int) -> None:
        chosen = _of(self.keys, key)
        name = self.names[chosen]
        expected = self.model.clear(chosen)
        self.here(expected, lambda: lookup.clear(name, "default", reason="why", actor="who"))

    @precondition(lambda self: self.model.is_stopped)
    @rule(key=PICK, outcome=st.sampled_from(["completed", "failed", "retired"]))
    def release(self, key: int, outcome: str) -> None:
        chosen = _of(self.keys, key)
        name, result = self.names[chosen], f"decided {next(self.numbers)}"
        told = {"result": result} if outcome == "completed" else {}
        expected = self.model.release(chosen, outcome, result)
        self.here(expected, lambda: lookup.release(name, outcome, reason="why", **told))

    @precondition(lambda self: self.model.rows)
    @rule(task=st.sampled_from(["sweep", "recover"]))
    def beat_sends(self, task: str) -> None:
        if task == "sweep":
            self.here(self.model.sweep(), sweep.sweep)
        else:
            found = sorted(self.names[key] for key in self.model.recover())
            grace = sweep.RECOVERY_GRACE * 0
            self.here(returned(found), lambda: sorted(sweep.recover(grace=grace)))

    @precondition(lambda self: self.idle and self.model.unpublished)
    @rule(worker=PICK, stops_publishing=st.sampled_from([None, PUBLISHING, PUBLISHED]))
    def relay(self, worker: int, stops_publishing: Stop | None) -> None:
        self._relay(_of(self.idle, worker), stops_publishing)

    def _relay(self, number: int, stops_publishing: Stop | None) -> None:
        self.clock.forward(seconds=11)  # all are old enough
        with self.step(number) as expect:
            expect(self.model.relay(number, stops_publishing))
            worker = self.stage.worker(number)
            worker.stops_publishing = stops_publishing
            worker.start(outbox.relay)

    # Who may do what

    @property
    def idle(self) -> list[int]:
        return [number for number in WORKERS if number not in self.model.deliveries]

    @property
    def stopped(self) -> list[int]:
        return [number for number, it in sorted(self.model.deliveries.items()) if it.then]

    @property
    def dividing(self) -> list[int]:
        return [number for number, key in sorted(self.bodies.items()) if key.task != "exactly"]

    @property
    def enqueuing(self) -> list[int]:
        return [
            number
            for number, key in sorted(self.bodies.items())
            if key.task != "exactly"
            or not (number in self.cut_bodies or self.model.deliveries[number].enqueued)
        ]

    @property
    def cuttable(self) -> list[int]:
        return sorted(set(self.bodies) - self.cut_bodies)

    def call(self, key: Key) -> tuple[str, list[int]]:
        task = TASKS[key.task]
        return f"{task.__module__}.{task.__qualname__}", [key.number]

    # What must hold

    def step(self, number: int) -> Step:
        return Step(self, number)

    def here(self, expected: Stop, call: Here) -> None:
        """A person's or housekeeping's call, from this thread, which no gate stops."""
        self.is_sound = False
        try:
            actual = returned(call())
        except Exception as error:
            actual = raised(type(error).__name__)
        assert actual == expected
        self.compare()

    def enters_body(self, number: int, key: Key) -> None:
        """Whatever the model thinks of it: never two at once, unless the lock was lost."""
        if number not in self.bodies:
            others = [other for other, its in self.bodies.items() if its == key]
            assert all(other in self.cut_bodies for other in others), f"two bodies of {key}"
            self.bodies[number] = key

    def leaves_body(self, number: int) -> None:
        self.bodies.pop(number, None)
        self.cut_bodies.discard(number)

    def compare(self) -> None:
        """The database is as the model says."""
        self.is_sound = False
        model = self.model
        events = {
            id: (execution, kind, attempt)
            for id, execution, kind, attempt in ExecutionEvent.objects.order_by("id").values_list(
                "id", "execution_id", "kind", "attempt"
            )
        }
        steps = ExecutionStep.objects.values_list("execution_id", "name")
        rows = list(TaskExecution.objects.order_by("id"))
        assert [
            {
                "key": row.key,
                "state": row.state,
                "attempt": row.attempt,
                "crashes": row.crashes,
                "result": row.result,
                "retired": row.retired_at is not None,
                "expires": row.expires_at is not None,
                "events": [event[1:] for event in events.values() if event[0] == row.id],
                "steps": {name for execution, name in steps if execution == row.id},
            }
            for row in rows
        ] == [
            {
                "key": self.names[row.key],
                "state": row.state,
                "attempt": row.attempt,
                "crashes": row.crashes,
                "result": row.result,
                "retired": row.retired is not None,
                "expires": row.expires is not None,
                "events": row.events,
                "steps": row.steps,
            }
            for row in model.rows
        ]
        live = [row.key for row in rows if row.retired_at is None]
        assert len(live) == len(set(live))
        kept = {row.id for row in rows}
        assert [e for e in self.events.items() if e[1][0] in kept] == list(events.items())[
            : sum(event[0] in kept for event in self.events.values())
        ]
        self.events = events
        assert sorted(Effect.objects.values_list("key", "note")) == sorted(model.effects)
        assert self.stage.holders(list(self.names.values())) == {
            self.names[key]: self.stage.worker(worker).name for key, worker in model.holders.items()
        }
        assert self.stage.sent == model.sent
        waiting = OutboxMessage.objects.filter(published_at=None).order_by("id")
        assert [message.message["args"] for message in waiting] == [
            [message.number] for message in model.unpublished
        ]
        self.is_sound = True

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.nothing_is_stuck_or_lost()
        finally:
            self.stage.end()
            self.clock.back()
            with connection.cursor() as cursor:
                cursor.execute(
                    "truncate ledger_taskexecution, ledger_executionevent, ledger_executionstep,"
                    " ledger_outboxmessage, ledger_seal, ledger_unsealedexecution,"
                    " testapp_effect restart identity"
                )

    def nothing_is_stuck_or_lost(self) -> None:
        """When all who live have ended, one more delivery ends every execution that nobody has to
        decide about, and one more relay publishes every follow-up."""
        for _ in range(50):
            for number in sorted(self.model.deliveries):
                if number in self.bodies:
                    self._finish(number)
                elif number in self.model.deliveries:
                    self._go_on(number)
        assert not self.model.deliveries
        self.model.broker_is_up = self.stage.broker_is_up = True
        self._relay(0, None)
        assert not OutboxMessage.objects.filter(published_at=None).exists()
        assert self.inbox.queue.purge() == len(self.model.sent)
        for key in self.keys:
            self._deliver(0, key, gated=False, hinted=False)
            while 0 in self.model.deliveries:
                self._finish(0) if 0 in self.bodies else self._go_on(0)
            live = self.model.live(key)
            assert live
            assert live.state in ("completed", "held")


class Step:
    """One worker's step: where the model expects it to stop, there it must."""

    def __init__(self, machine: Interleavings, number: int) -> None:
        self.machine = machine
        self.number = number

    def __enter__(self) -> Callable[[Stop], None]:
        self.machine.is_sound = False
        delivery = self.machine.model.deliveries.get(self.number)
        self.key = delivery.key if delivery else None
        return self._expect

    def _expect(self, stop: Stop) -> None:
        self.expected = stop
        delivery = self.machine.model.deliveries.get(self.number)
        self.key = delivery.key if delivery else self.key

    def __exit__(self, kind: object, error: object, where: object) -> None:
        if error is not None:
            return
        worker = self.machine.stage.worker(self.number)
        assert worker.at == self.expected
        if self.expected.where == "body":
            assert self.key
            self.machine.enters_body(self.number, self.key)
        else:
            self.machine.leaves_body(self.number)
        self.machine.compare()


def _of(eligible: list[Any], pick: int) -> Any:
    return eligible[pick % len(eligible)]


@pytest.fixture
def stage(
    clock: Clock,
    session: Callable[[], psycopg.Connection],
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> Iterator[Callable[[], Stage]]:
    settings.LEDGER = {**getattr(django_settings, "LEDGER", {}), "RECONNECT_SECONDS": 3600}
    monkeypatch.setattr(protocol, "time", Pauses)
    monkeypatch.setattr(guarantees.durable, "time", Pauses)
    monkeypatch.setattr(logging.getLogger("ledger"), "disabled", True)
    with gated_functions():
        yield lambda: Stage(session())


@commits
@pytest.mark.timeout(600)
def test_every_interleaving_keeps_what_was_promised(
    stage: Callable[[], Stage], inbox: Inbox, clock: Clock
) -> None:
    chosen = os.environ.get("STATEFUL_EXAMPLES")
    machine: Any = lambda: Interleavings(stage(), inbox, clock)  # noqa: E731
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(chosen or EXAMPLES),
            stateful_step_count=STEPS,
            derandomize=chosen is None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
