"""One run of the month: workers, messages, kills, and the wait until all of it is done."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from . import databases
from .broker import Broker
from .checks import Check, check, check_month, numbers
from .errors import DemoError
from .messages import Messages
from .screen import Screen
from .site import MONTH, YEAR, Site
from .trap import Trap
from .workers import Worker, kill_process

WORKERS, PROCESSES = 2, 2
POLL_SECONDS = 0.1
PATIENCE = 60.0
"""Seconds in which something has to move."""
QUIET = 15.0
"""Seconds without a move, and without a message at the broker, after which none is to come."""

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """``numbers`` are those of numbers.sql; ``seconds`` from the first message to the last."""

    checks: list[Check]
    numbers: Any
    seconds: float


class Run:
    """``pay`` publishes ``task`` for all messages, in a database that knows them (tables.sql)."""

    def __init__(
        self, site: Site, database: str, task: str, broker: Broker, screen: Screen
    ) -> None:
        self.database, self.task = database, task
        self.broker, self.screen = broker, screen
        self.conninfo = databases.conninfo(database)
        self.folder = site.logs(database)
        self.environment = site.environment(database)
        self.workers: list[Worker] = []
        self.killed = 0

    def pay(self, messages: Messages) -> Outcome:
        """Run it, until every message came to an end and no worker is left.

        Raises DemoError if a worker ends by itself, or if nothing moves any more.
        """
        with ExitStack() as stack:
            stack.callback(self._kill_all)
            self.session = stack.enter_context(psycopg.connect(self.conninfo, autocommit=True))
            ids = self.session.execute("SELECT number, id FROM payroll_employee").fetchall()
            self.ids: dict[str, int] = dict(ids)
            for _ in range(WORKERS):
                self._start_worker()
            for worker in self.workers:
                worker.wait_until_ready()
            employees = len({message.number for message in messages.all})
            self.bars = stack.enter_context(self.screen.bars(employees, len(messages.all)))

            began = time.monotonic()
            with Trap(self.conninfo, messages.first_victim) as trap:
                self._publish(messages, 0, messages.split)
                self._kill_child(trap)
            with Trap(self.conninfo, messages.second_victim) as trap:
                self._publish(messages, messages.split, len(messages.all))
                self._kill_worker(trap)
            self._start_worker()
            self._watch(self._finished, "every message to come to an end")
            seconds = time.monotonic() - began

            for worker in self.workers:
                worker.wait_until_ready()  # the replacement may have come too late to be needed
                worker.stop()
            self.broker.wait_for_consumers()
            left = self.broker.left()
            seen = numbers(self.session, YEAR, MONTH)
            checks = [
                *check_month(self.session, YEAR, MONTH),
                check("No message is left with the broker", not left, "messages", 0, left),
                self._none_missing(seen.missing),
            ]
            return Outcome(checks, seen, seconds)

    def _start_worker(self) -> None:
        name = f"worker-{len(self.workers) + self.killed + 1}"
        self.workers.append(Worker(name, PROCESSES, self.folder, self.environment))

    def _publish(self, messages: Messages, start: int, end: int) -> None:
        self.broker.publish(
            self.task,
            [
                (message.task_id, (self.ids[message.number], YEAR, MONTH))
                for message in messages.all[start:end]
            ],
        )

    def _kill_child(self, trap: Trap) -> None:
        process = self._watch(trap.caught, f"a worker to pay {trap.number}")
        kill_process(process)
        self._record_kill(process, "pool process", trap)
        self.screen.say(
            f"  Killed pool process {process} inside the payslip of {trap.number};"
            " its worker starts another."
        )

    def _kill_worker(self, trap: Trap) -> None:
        process = self._watch(trap.caught, f"a worker to pay {trap.number}")
        [worker] = [worker for worker in self.workers if worker.owns(process)]
        worker.kill()
        self.workers.remove(worker)
        self.killed += 1
        self._record_kill(worker.pid, "worker", trap)
        self.screen.say(
            f"  Killed {worker.name}, all {1 + PROCESSES} processes of it, inside the payslip of"
            f" {trap.number}; starting a replacement."
        )

    def _record_kill(self, process: int, what: str, trap: Trap) -> None:
        self.session.execute(
            "INSERT INTO demo_kill (process, what, number) VALUES (%s, %s, %s)",
            [process, what, trap.number],
        )

    def _finished(self) -> bool:
        """Every message came to an end, or what is missing will not come any more."""
        if self.broker.left():
            return False
        return self.progress[-1] or time.monotonic() - self.moved > QUIET

    def _watch(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait for the condition, and show how far the run is meanwhile."""
        self.progress: Sequence[Any] = ()
        self.moved = time.monotonic()
        while True:
            [seen] = databases.run_file(self.session, "progress.sql").fetchall()
            if seen != self.progress:
                self.progress, self.moved = seen, time.monotonic()
            paid, ended, _ = seen
            self.bars.show(paid, ended)
            if outcome := condition():
                return outcome
            for worker in self.workers:
                worker.must_live()
            if time.monotonic() - self.moved > PATIENCE:
                raise DemoError(
                    f"Nothing has moved for {PATIENCE:g} s while waiting for {what}: {paid}"
                    f" employees are paid, {ended} messages done, {self.broker.left()} are with"
                    f" the broker. Read the workers' logs in {self.folder}."
                )
            time.sleep(POLL_SECONDS)

    def _none_missing(self, missing: int) -> Check:
        promise = "Every message came to an end"
        if self.broker.takes_along:
            promise += ", but for one that Redis may lose with a killed worker"
        expected = f"at most {self.broker.takes_along}"
        return check(promise, missing <= self.broker.takes_along, "missing", expected, missing)

    def _kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()
