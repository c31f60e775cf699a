"""What the ledger promises, as plain Python without concurrency: rows, locks, and who is where.

Every method is one step between two stops of a worker, and returns the stop that comes next. That
real workers on real connections arrive at the same stops, and leave the same rows, is the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.ledger.stateful.stage import PAUSE, PUBLISHED, PUBLISHING, Stop, raised, returned
from tests.ledger.stateful.tasks import MAX_CRASHES, TTL_HOURS

RETENTION_HOURS = 400 * 24
ANSWERED = 0
Then = Callable[[], Stop]


class Key(NamedTuple):
    task: str
    number: int

    def __str__(self) -> str:
        return f"{self.task} {self.number}"


@dataclass(eq=False)
class Row:
    key: Key
    state: str = "running"
    attempt: int = 1
    crashes: int = 0
    expires: float | None = None
    result: object = None
    retired: float | None = None
    events: list[tuple[str, int]] = field(default_factory=list)
    steps: set[str] = field(default_factory=set)

    def tell(self, kind: str, attempt: int | None = None) -> None:
        self.events.append((kind, attempt or self.attempt))

    def is_running(self, attempt: int) -> bool:
        return self.state == "running" and self.attempt == attempt


@dataclass(eq=False)
class Message:
    number: int
    row: Row
    published: bool = False
    locked_by: int | None = None


@dataclass(eq=False)
class Delivery:
    """What one worker is doing. ``then`` is what it does when it goes on from its stop."""

    worker: int
    key: Key | None = None
    gated: bool = False
    then: Then | None = None
    claimed: int | None = None
    claimed_row: Row | None = None
    row: Row | None = None
    attempt: int = 0
    is_cut: bool = False
    effects: list[str] = field(default_factory=list)
    enqueued: list[int] = field(default_factory=list)
    steps: set[str] | None = None
    stops_publishing: Stop | None = None


class Model:
    def __init__(self) -> None:
        self.now = 0.0
        self.broker_is_up = True
        self.rows: list[Row] = []
        self.holders: dict[Key, int] = {}
        self.deliveries: dict[int, Delivery] = {}
        self.effects: list[tuple[str, str]] = []
        self.messages: list[Message] = []
        self.sent: list[int] = []

    def live(self, key: Key) -> Row | None:
        return next((row for row in self.rows if row.key == key and row.retired is None), None)

    def is_expired(self, row: Row) -> bool:
        return row.expires is not None and row.expires <= self.now

    @property
    def is_stopped(self) -> bool:
        """Something waits for a person, or for the next delivery."""
        return any(row.state in ("held", "failed") and row.retired is None for row in self.rows)

    @property
    def unpublished(self) -> list[Message]:
        return [message for message in self.messages if not message.published]

    # A delivery, from claim to body

    def deliver(self, worker: int, key: Key, *, gated: bool, hinted: bool) -> Stop:
        """``hinted``: this process thinks that it is completed."""
        delivery = self.deliveries[worker] = Delivery(worker, key, gated)
        live = self.live(key)
        if hinted and key.task == "exactly" and live and self._answers(live):
            live.tell("skipped")
            return self._done(delivery, returned(live.result))
        return self._claim(delivery)

    def _claim(self, delivery: Delivery) -> Stop:
        assert delivery.key
        delivery.claimed = self._claimed(delivery.key)
        delivery.claimed_row = self.live(delivery.key)
        return self._gate(delivery, "run lock", lambda: self._look(delivery))

    def _claim_again(self, delivery: Delivery) -> Stop:
        """At once: a gate stays open until its worker stops again."""
        assert delivery.key
        delivery.claimed = self._claimed(delivery.key)
        delivery.claimed_row = self.live(delivery.key)
        return self._look(delivery)

    def _claimed(self, key: Key) -> int | None:
        live = self.live(key)
        if live and self._answers(live):
            live.tell("skipped")
            return ANSWERED
        if key in self.holders or (live and live.state in ("running", "held")):
            return None
        if live and live.state == "failed":
            if live.crashes > _max_crashes(key):
                live.state = "held"
                live.tell("held")
                return None
            live.state, live.expires = "running", None
            live.attempt += 1
            return live.attempt
        if live:
            live.retired = self.now
        self.rows.append(Row(key))
        return 1

    def _answers(self, row: Row) -> bool:
        return row.state == "completed" and not self.is_expired(row)

    def _look(self, delivery: Delivery) -> Stop:
        """Lock, then read: whose is it now?"""
        assert delivery.key
        live = self.live(delivery.key)
        is_free = delivery.key not in self.holders
        if live is None:
            return self._claim_again(delivery) if is_free else self._busy(delivery)
        if live.state == "running":
            if live is delivery.claimed_row and live.attempt == delivery.claimed:
                return self._begin(delivery, live) if is_free else self._lock_again(delivery)
            return self._look_twice(delivery, live) if is_free else self._busy(delivery)
        if live.state == "held":
            return self._done(delivery, raised("ExecutionHeld"))
        if live.state == "completed":
            if live is delivery.claimed_row and delivery.claimed == ANSWERED:
                return self._done(delivery, returned(live.result))
            return self._claim_again(delivery)
        return self._claim_again(delivery) if is_free else self._busy(delivery)

    def _busy(self, delivery: Delivery) -> Stop:
        return self._done(delivery, raised("ExecutionInProgress"))

    def _lock_again(self, delivery: Delivery) -> Stop:
        return self._stop(
            delivery,
            PAUSE,
            lambda: self._gate(delivery, "run lock", lambda: self._look(delivery)),
        )

    def _look_twice(self, delivery: Delivery, orphan: Row) -> Stop:
        attempt = orphan.attempt

        def take_over() -> Stop:
            delivery.claimed = self._taken_over(orphan, attempt)
            delivery.claimed_row = orphan
            return self._gate(delivery, "run lock", lambda: self._look(delivery))

        return self._stop(delivery, PAUSE, take_over)

    def _taken_over(self, row: Row, attempt: int) -> int | None:
        if row.key in self.holders or not row.is_running(attempt):
            return None
        row.tell("abandoned")
        row.crashes += 1
        if row.crashes > _max_crashes(row.key):
            row.state = "held"
            row.tell("held")
            return None
        row.attempt += 1
        row.tell("taken_over")
        return row.attempt

    def _begin(self, delivery: Delivery, row: Row) -> Stop:
        self.holders[row.key] = delivery.worker
        delivery.row, delivery.attempt = row, row.attempt
        effect = f"attempt {row.attempt}"
        if row.key.task == "exactly":
            delivery.effects.append(effect)
        else:
            self.effects.append((str(row.key), effect))
        return self._body(delivery)

    def _body(self, delivery: Delivery) -> Stop:
        delivery.then = None
        return Stop("body", delivery.attempt)

    # In the body

    def step(self, worker: int, name: str) -> Stop:
        delivery = self.deliveries[worker]
        row = delivery.row
        assert row
        if delivery.steps is None:
            delivery.steps = set(row.steps)
        if name not in delivery.steps:
            if not row.is_running(delivery.attempt):
                return self.fail(worker, "LostClaim")
            self.effects.append((str(row.key), f"{name} in attempt {delivery.attempt}"))
            row.steps.add(name)
            row.crashes = 0
            delivery.steps.add(name)
        return self._body(delivery)

    def enqueue(self, worker: int, number: int) -> Stop:
        delivery = self.deliveries[worker]
        row = delivery.row
        assert row
        if row.key.task == "exactly":
            delivery.enqueued.append(number)
        elif not row.is_running(delivery.attempt):
            return self.fail(worker, "LostClaim")
        else:
            self.messages.append(Message(number, row))
            self._send(self.messages[-1])
        return self._body(delivery)

    def finish(self, worker: int, result: object, stops_publishing: Stop | None = None) -> Stop:
        delivery = self.deliveries[worker]
        assert delivery.row
        delivery.stops_publishing = stops_publishing
        if delivery.row.key.task == "exactly":
            if delivery.is_cut:
                return self._done(delivery, raised("LedgerUnavailable"))
            self._complete(delivery, result)
            self.effects += [(str(delivery.key), effect) for effect in delivery.effects]
            sending = [Message(number, delivery.row) for number in delivery.enqueued]
            self.messages += sending
            return self._publish(delivery, sending, returned(result))

        def complete() -> Stop:
            self._complete(delivery, result)
            return self._done(delivery, returned(result))

        def lost() -> Stop:
            assert delivery.row
            if delivery.row is self.live(delivery.row.key) and (
                (delivery.row.state, delivery.row.attempt) == ("completed", delivery.attempt)
            ):
                return self._done(delivery, returned(result))
            delivery.row.tell("lost_claim", delivery.attempt)
            return self._done(delivery, raised("LostClaim"))

        return self._reconnect(delivery, complete, lost) if delivery.is_cut else complete()

    def fail(self, worker: int, error: str) -> Stop:
        delivery = self.deliveries[worker]
        assert delivery.row
        is_exact = delivery.row.key.task == "exactly"
        in_doubt = delivery.row.key.task == "most" and error != "Harmless"
        if is_exact and not delivery.is_cut:
            del self.holders[delivery.row.key]

        def record() -> Stop:
            row = delivery.row
            assert row
            has_lock = self.holders.get(row.key) in (None, worker)
            settles = has_lock and row.is_running(delivery.attempt)
            row.tell("failed", delivery.attempt)
            if settles:
                row.state, row.crashes = ("held" if in_doubt else "failed"), 0
                row.expires = None if in_doubt else self.now + TTL_HOURS
            if settles and in_doubt:
                row.tell("held")
            if self.holders.get(row.key) == worker:
                del self.holders[row.key]
            return self._done(delivery, raised(error))

        def recorded() -> Stop:
            return self._gate(delivery, "failure", record)

        if delivery.is_cut and not is_exact:
            return self._reconnect(delivery, recorded, recorded)
        return recorded()

    def _complete(self, delivery: Delivery, result: object) -> None:
        row = delivery.row
        assert row
        assert row.is_running(delivery.attempt)
        assert self.holders.pop(row.key) == delivery.worker
        row.state, row.result, row.crashes = "completed", result, 0
        row.expires = self.now + TTL_HOURS

    def _reconnect(self, delivery: Delivery, settle: Then, lost: Then) -> Stop:
        """The lock was lost: it may be had again, if the attempt is still the running one."""

        def look() -> Stop:
            row = delivery.row
            assert row
            if row is not self.live(row.key) or not row.is_running(delivery.attempt):
                return lost()
            if row.key in self.holders:
                return self._reconnect(delivery, settle, lost)
            self.holders[row.key] = delivery.worker
            return settle()

        return self._stop(delivery, PAUSE, lambda: self._gate(delivery, "run lock", look))

    # Follow-ups

    def relay(self, worker: int, stops_publishing: Stop | None) -> Stop:
        delivery = self.deliveries[worker] = Delivery(worker, stops_publishing=stops_publishing)
        due = [message for message in self.unpublished if message.locked_by is None]
        return self._publish(delivery, due, None)

    def _publish(self, delivery: Delivery, due: list[Message], answer: Stop | None) -> Stop:
        """Send what is due; a relay (no other answer) answers with how many it could."""
        for message in due:
            message.locked_by = delivery.worker

        def send(number: int) -> Stop:
            for count, message in enumerate(due[number:], start=number):
                if not self._send(message):
                    return end(count)
            return end(len(due))

        def send_first() -> Stop:
            if not self.broker_is_up:
                return end(0)
            if delivery.stops_publishing == PUBLISHED:
                self.sent.append(due[0].number)
                return self._stop(delivery, PUBLISHED, sent_first)
            return send(0)

        def sent_first() -> Stop:
            due[0].published = True
            return send(1)

        def end(count: int) -> Stop:
            for message in due:
                message.locked_by = None
            return self._done(delivery, answer or returned(count))

        if due and delivery.stops_publishing == PUBLISHING:
            return self._stop(delivery, PUBLISHING, send_first)
        return send_first() if due else end(0)

    def _send(self, message: Message) -> bool:
        if self.broker_is_up:
            self.sent.append(message.number)
            message.published = True
        return self.broker_is_up

    # Faults and people

    def crash(self, worker: int) -> None:
        delivery = self.deliveries.pop(worker, None)
        if delivery and delivery.key and self.holders.get(delivery.key) == worker:
            del self.holders[delivery.key]
        for message in self.messages:
            if message.locked_by == worker:
                message.locked_by = None

    def cut(self, worker: int) -> None:
        delivery = self.deliveries[worker]
        assert delivery.key
        assert self.holders.pop(delivery.key) == worker
        delivery.is_cut = True

    def clear(self, key: Key) -> Stop:
        live = self.live(key)
        if key in self.holders:
            return raised("ExecutionInProgress")
        if live is None:
            return returned(False)
        if live.state == "running":
            live.tell("abandoned")
            live.state = "failed"
        live.retired = self.now
        live.tell("retired")
        return returned(True)

    def release(self, key: Key, outcome: str, result: object) -> Stop:
        live = self.live(key)
        if key in self.holders:
            return raised("ExecutionInProgress")
        if live is None or live.state != "held":
            return raised("LedgerError")
        if outcome == "completed":
            live.result = result
        if outcome == "retired":
            live.retired = self.now
        else:
            live.state, live.crashes, live.expires = outcome, 0, self.now + TTL_HOURS
        live.tell("released")
        return returned(None)

    def sweep(self) -> Stop:
        due = [
            row
            for row in self.rows
            if row.retired is None and row.state in ("completed", "failed") and self.is_expired(row)
        ]
        for row in due:
            row.retired = self.now
        unpublished = [message.row for message in self.unpublished]
        purged = [
            row
            for row in self.rows
            if row.retired is not None
            and row.retired < self.now - RETENTION_HOURS
            and row not in unpublished
        ]
        self.rows = [row for row in self.rows if row not in purged]
        self.messages = [message for message in self.messages if message.row not in purged]
        return returned({"retired": len(due), "purged": len(purged)})

    def recover(self) -> list[Key]:
        found = [row for row in self.rows if row.state == "running" and row.key not in self.holders]
        for row in found:
            row.state = "held" if row.key.task == "most" else "failed"
            row.crashes += 1
            row.tell("abandoned")
            if row.state == "held":
                row.tell("held")
        return [row.key for row in found]

    def go_on(self, worker: int) -> Stop:
        then = self.deliveries[worker].then
        assert then
        return then()

    def _gate(self, delivery: Delivery, name: str, then: Then) -> Stop:
        return self._stop(delivery, Stop(name), then) if delivery.gated else then()

    def _stop(self, delivery: Delivery, stop: Stop, then: Then) -> Stop:
        delivery.then = then
        return stop

    def _done(self, delivery: Delivery, answer: Stop) -> Stop:
        del self.deliveries[delivery.worker]
        return answer


def _max_crashes(key: Key) -> int:
    return 0 if key.task == "most" else MAX_CRASHES
