"""Workers that take one step at a time, when and as far as the test says.

Each is a thread with database connections of its own. It stops in its body, wherever the protocol
would sleep, where it publishes, and, if its delivery is gated, on the server: between its claim's
commit and its run lock, and between the rollback of a failure and its record. So which of them goes
on next, and which dies, is the test's choice alone.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from django.db import connection, connections
from django.db.backends.signals import connection_created
from kombu.exceptions import OperationalError as BrokerDown

import ledger
from ledger import run_lock
from tests.workers import wait_until

FUNCTIONS = Path(ledger.__file__).parent / "sql" / "functions.sql"
PATIENCE = 20.0
"""Seconds until a worker that does not come to its next stop is stuck."""

FIRST_GATE = 7000
GATES = {1: "run lock", 2: "failure"}
"""Where a gated worker stops on the server, before the lock is asked for. Its number and the gate's
are an advisory lock that it must share and the test has."""

GATED = """
    create or replace function ledger_lock_id(p_key text) returns bigint
    language plpgsql volatile as $$
    declare
        worker integer := substring(current_setting('application_name') from '^worker (\\d+)$');
        story text;
        gate integer;
    begin
        get diagnostics story = pg_context;
        gate := case when story ~ 'function ledger_(lock|stay)\\(' then 1
            when story ~ 'function ledger_fail\\(' then 2 end;
        if worker is not null and gate is not null then
            perform pg_advisory_lock_shared(worker, gate);
            perform pg_advisory_unlock_shared(worker, gate);
        end if;
        return ORIGINAL;
    end $$
"""

Here = Callable[[], object]
"""An order: what a worker does in its own thread before it stops again."""


class Stop(NamedTuple):
    """Where a worker stands. ``body`` says which attempt, ``done`` how it was answered."""

    where: str
    what: object = None


PAUSE = Stop("pause")
PUBLISHING = Stop("publishing")
PUBLISHED = Stop("published")


def returned(value: object) -> Stop:
    return Stop("done", ("returned", value))


def raised(name: str) -> Stop:
    return Stop("done", ("raised", name))


class Killed(BaseException):
    """Unwinds the thread of a worker that is dead: it can reach nothing any more."""


_local = threading.local()


def here() -> Worker:
    """The worker whose thread this is."""
    worker: Worker = _local.worker
    return worker


class Worker:
    """A process, as far as the database can tell."""

    def __init__(self, number: int, stage: Stage) -> None:
        self.number = FIRST_GATE + number
        self.name = f"worker {self.number}"
        self.stage = stage
        self.at: Stop | None = None
        self.stops_publishing: Stop | None = None
        self.dead = False
        self._gated = False
        self._orders: queue.SimpleQueue[Here] = queue.SimpleQueue()
        self._stops: queue.SimpleQueue[Stop] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    # The test's side

    def start(self, job: Here, *, gated: bool = False) -> Stop:
        """Begin a job, and go on to its first stop."""
        if gated != self._gated:
            self._each_gate("pg_advisory_lock" if gated else "pg_advisory_unlock")
            self._gated = gated
        self._orders.put(job)
        return self._next_stop()

    def go_on(self, order: Here = lambda: None) -> Stop:
        """Carry out an order, and go on to the next stop."""
        gates = [gate for gate, name in GATES.items() if self.at == Stop(name)]
        if not gates:
            self._orders.put(order)
            return self._next_stop()
        self.stage.ask("select pg_advisory_unlock(%s, %s)", self.number, gates[0])
        try:
            return self._next_stop()
        finally:
            self.stage.ask("select pg_advisory_lock(%s, %s)", self.number, gates[0])

    def end(self) -> None:
        """End its sessions, and let its thread do nothing more, wherever it stands."""
        self.dead = True
        if self.at is None or self.at.where != "done":
            self.stage.terminate(SESSIONS, self.name)
        self._orders.put(lambda: None)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"{self.name} cannot be ended at {self.at}"
        if self._gated:
            self._each_gate("pg_advisory_unlock")

    def _each_gate(self, function: str) -> None:
        for gate in GATES:
            self.stage.ask(f"select {function}(%s, %s)", self.number, gate)

    def _next_stop(self) -> Stop:
        before, self.at = self.at, None
        deadline = time.monotonic() + PATIENCE
        while self.at is None:
            try:
                self.at = self._stops.get(timeout=0.005)
            except queue.Empty:
                self.at = self._at_gate()
            assert time.monotonic() < deadline, f"{self.name} is stuck after {before}"
        return self.at

    def _at_gate(self) -> Stop | None:
        if not self._gated:
            return None
        waiting = self.stage.ask(
            "select objid::integer from pg_locks where locktype = 'advisory' and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
            " and objsubid = 2 and classid = %s",
            self.number,
        )
        return Stop(GATES[waiting[0][0]]) if waiting else None

    # Its own side

    def stop(self, stop: Stop) -> Here:
        """Stand here until there is an order."""
        if not self.dead:
            self._stops.put(stop)
            order = self._orders.get()
        if self.dead:
            raise Killed
        return order

    def publish(self, number: int, send: Here) -> object:
        """As a broker would take it, if there is one, and the worker lives so long."""
        stop, self.stops_publishing = self.stops_publishing, None
        if stop == PUBLISHING:
            self.stop(stop)
        if not self.stage.broker_is_up:
            raise BrokerDown("the test says that there is no broker")
        sent = send()
        self.stage.sent.append(number)
        if stop == PUBLISHED:
            self.stop(stop)
        return sent

    def _work(self) -> None:
        _local.worker = self
        try:
            job = self._orders.get()
            while not self.dead:
                try:
                    answer = returned(job())
                except Exception as error:
                    answer = raised(type(error).__name__)
                job = self.stop(answer)
        except Killed:
            pass
        finally:
            run_lock.close_all()
            connections.close_all()


class Stage:
    """The workers of one example, and what they publish to."""

    def __init__(self, gatekeeper: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._gatekeeper = gatekeeper
        self.broker_is_up = True
        self.sent: list[int] = []
        self.workers: dict[int, Worker] = {}

    def worker(self, number: int) -> Worker:
        if number not in self.workers:
            self.workers[number] = Worker(number, self)
        return self.workers[number]

    def kill(self, number: int) -> None:
        """The next worker of that number is another process."""
        self.workers.pop(number).end()

    def cut(self, key: str) -> None:
        """End the session that has the key's run lock, and nothing else."""
        assert self.terminate(LOCKS, [key]) == 1

    def terminate(self, sessions: str, *parameters: object) -> int:
        """End these sessions, and wait until they are gone; how many there were."""
        found = self.ask(f"select pg_terminate_backend(pid) from ({sessions}) s", *parameters)
        wait_until(lambda: not self.ask(sessions, *parameters), what="the end of sessions")
        return len(found)

    def holders(self, keys: list[str]) -> dict[str, str]:
        """By key, the name of the session that has its run lock."""
        return {key: name for key, _, name in self.ask(LOCKS, keys)}

    def ask(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = self._gatekeeper.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []

    def end(self) -> None:
        for number in list(self.workers):
            self.kill(number)
        self._gatekeeper.close()


SESSIONS = """
    select pid from pg_stat_activity
    where datname = current_database() and application_name = %s
"""

LOCKS = """
    select key, pid, application_name
    from unnest(%s::text[]) key
    join pg_locks on locktype = 'advisory' and granted and objsubid = 1
        and classid::bigint = (ledger_lock_id(key) >> 32) & 4294967295
        and objid::bigint = ledger_lock_id(key) & 4294967295
    join pg_stat_activity using (pid) where datname = current_database()
"""
"""Which sessions have the run locks of some keys."""


class Pauses:
    """Stands in for the module ``time`` where the protocol sleeps."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        here().stop(PAUSE)


@contextmanager
def gated_functions() -> Iterator[None]:
    """The ledger's own functions, with a gate where they ask for a run lock."""
    original = re.search(r"hashtextextended\(p_key, \d+\)", FUNCTIONS.read_text())
    assert original is not None
    connection_created.connect(_introduce)
    with connection.cursor() as cursor:
        cursor.execute(GATED.replace("ORIGINAL", original.group()))
    try:
        yield
    finally:
        connection_created.disconnect(_introduce)
        with connection.cursor() as cursor:
            cursor.execute(FUNCTIONS.read_text())


def _introduce(connection: Any, **signal: Any) -> None:
    """A new connection says whose it is; a dead worker gets none."""
    worker: Worker | None = getattr(_local, "worker", None)
    if worker is None:
        return
    if worker.dead:
        connection.connection.close()
        raise Killed
    with connection.cursor() as cursor:
        cursor.execute(f"set application_name = '{worker.name}'")
