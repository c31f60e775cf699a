"""What happens to a message, one trial each, and what came of it behind every guard."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from celery_once import AlreadyQueued
from django.conf import settings

from ledger.testing.worker import Worker, Workers
from tests.comparison import guards
from tests.comparison.app import DATABASE, app, client, valkey
from tests.comparison.guards import GUARDS
from tests.testapp.models import Effect
from tests.workers import wait_until

Verdict = Literal["once", "twice", "late", "never"]
"""How often the work was done. ``late``: not when it was published again, only when the broker at
last gave back the message that a lost machine had."""

Verdicts = dict[str, dict[str, Verdict]]
"""By trial and guard."""

HOUR = 3600
ON_ITS_WAY = 0.5
"""Seconds."""

ALL_AT_ONCE = 2 * len(GUARDS)
"""Processes enough for two messages behind each guard."""


class Trial:
    """One message behind each guard, sent as often as ``publish`` is called."""

    def __init__(self, queue: str) -> None:
        self.queue = f"{settings.TEST_RUN}:{queue}"
        self.keys = {guard: f"{settings.TEST_RUN}:{uuid4().hex}" for guard in GUARDS}

    def publish(self, **fault: Any) -> None:
        headers: dict[str, Any] = {"faults": [fault] if fault else []}
        for guard, task in GUARDS.items():
            with suppress(AlreadyQueued):
                task.apply_async((self.keys[guard],), headers=headers)

    def settle(self, unacknowledged: int = 0) -> None:
        """Until no message is left but those that so many lost processes had: for a while, because
        one that is on its way from the queue to a worker is nowhere to be seen."""
        since = time.monotonic()

        def settled() -> bool:
            nonlocal since
            queued = client().llen(self.queue)
            if queued or client().hlen(f"{settings.TEST_RUN}:unacked") != unacknowledged:
                since = time.monotonic()
            return time.monotonic() - since > ON_ITS_WAY

        wait_until(settled, what=f"the end of all but {unacknowledged} messages")

    def wait_for_each(self, what: str) -> None:
        """Until the work of each has ``starts``, or one of its deliveries has ``ended``."""
        counters = [f"{key}:{what}" for key in self.keys.values()]
        wait_until(lambda: all(client().mget(counters)), what=f"{what} behind every guard")

    def times(self) -> dict[str, int]:
        return {guard: Effect.objects.filter(key=key).count() for guard, key in self.keys.items()}

    def verdicts(self) -> dict[str, Verdict]:
        return {guard: verdict(times) for guard, times in self.times().items()}


def verdict(times: int) -> Verdict:
    return "never" if times == 0 else "once" if times == 1 else "twice"


def run(start: Workers, folder: Path) -> Verdicts:
    """All trials. ``start`` starts workers of ``app``; messages wait in ``folder``."""
    found: Verdicts = {}
    with cleared():
        trial = Trial(start.queue)
        trial.publish()
        trial.publish()
        worker = worker_of(start, processes=1)
        trial.settle()
        found["published twice before it is run"] = trial.verdicts()

        trial = Trial(start.queue)
        for _ in range(2):
            trial.publish()
            trial.settle()
        found["published again when it is done"] = trial.verdicts()

        for name, fault in {
            "fails, and is retried": {"at": "body", "do": "fail"},
            "the process is killed in the work": {"at": "body", "do": "kill_child"},
            "… when the work is committed": {"at": "done", "do": "kill_child"},
            "… before the message is acknowledged": {"at": "stored", "do": "kill_child"},
        }.items():
            trial = Trial(start.queue)
            trial.publish(**fault)
            trial.settle()
            found[name] = trial.verdicts()
        worker.stop()

        lost = Trial(start.queue)
        with gate(folder / "lost") as waiting:
            worker = worker_of(start, processes=ALL_AT_ONCE)
            lost.publish(at="body", do="wait", gate=waiting)
            lost.wait_for_each("starts")
            worker.kill()
        lost.publish()
        worker = worker_of(start, processes=ALL_AT_ONCE)
        lost.settle(unacknowledged=len(GUARDS))
        at_first = lost.times()
        worker.stop()

        worker = worker_of(start, processes=ALL_AT_ONCE, visibility_timeout=1)
        lost.settle()
        found["the machine is lost; published again"] = {
            guard: "late" if in_the_end == "once" and not at_first[guard] else in_the_end
            for guard, in_the_end in lost.verdicts().items()
        }

        trial = Trial(start.queue)
        with gate(folder / "slow") as waiting:
            trial.publish(at="body", do="wait", gate=waiting)
            trial.wait_for_each("ended")  # a second delivery, while the first waits
        trial.settle()
        found["delivered again while it runs"] = trial.verdicts()
    return found


def worker_of(start: Workers, processes: int, visibility_timeout: int = HOUR) -> Worker:
    app.conf.broker_transport_options["visibility_timeout"] = visibility_timeout
    told = {"TEST_RUN": settings.TEST_RUN, "CACHE_URL": valkey.cache_url(DATABASE)}
    return start(processes, include=[guards.__name__], environment=told)


@contextmanager
def gate(folder: Path) -> Iterator[str]:
    """Where messages wait until the block ends."""
    folder.mkdir()
    try:
        yield str(folder)
    finally:
        (folder / "open").touch()


@contextmanager
def cleared() -> Iterator[None]:
    """Valkey, without anything of ours in the end."""
    valkey.start()
    try:
        yield
    finally:
        for name in client().scan_iter(f"*{settings.TEST_RUN}*", count=1000):
            client().delete(name)
