"""The run lock's own connection: one for each lock, thread and process, and none that is left."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from ledger import ExecutionInProgress, current_execution, idempotent_task, run_lock
from ledger.models import TaskExecution
from tests.ledger.guarantees.locks import holder
from tests.ledger.guarantees.proxy import rerouted
from tests.ledger.guarantees.sessions import column, ours
from tests.ledger.marks import commits
from tests.ledger.threads import PATIENCE, Elsewhere, at_once, wait_for
from tests.testapp.models import Effect
from tests.workers import wait_until

pytestmark = commits

Sessions = Callable[[], psycopg.Connection]


@idempotent_task(guarantee="at_least_once")
def whoami(number: int) -> int | None:
    """The pid of the session that holds this run's lock."""
    return holder(current_execution().key)


def test_a_thread_keeps_its_connection_for_its_next_run() -> None:
    assert whoami(1) == whoami(2) == whoami(3)


def test_threads_hold_their_locks_on_connections_of_their_own(session: Sessions) -> None:
    together = threading.Barrier(4)

    @idempotent_task(guarantee="at_least_once")
    def task(number: int) -> int | None:
        together.wait(PATIENCE)
        pid = holder(current_execution().key)
        together.wait(PATIENCE)
        return pid

    pids = at_once(4, task)

    assert len(set(pids)) == 4
    assert all(isinstance(pid, int) for pid in pids)


def test_a_thread_that_ends_leaves_no_connection_behind(session: Sessions) -> None:
    server = session()
    before = ours(server)
    found: list[int | None] = []
    with Elsewhere() as elsewhere:
        found.append(elsewhere.call(whoami, 1).result(PATIENCE))
        assert found[0] in ours(server)  # kept, for the thread lives in its pool
    wait_until(lambda: ours(server) <= before, what="the end of the thread's session")


def test_close_all_ends_the_idle_connections_of_its_thread(session: Sessions) -> None:
    pid, server = whoami(1), session()
    assert pid in ours(server)
    run_lock.close_all()
    wait_until(lambda: pid not in ours(server), what="the end of the lock's session")
    assert whoami(2) not in (None, pid)


def test_a_forked_process_has_its_own_and_leaves_its_parents_alone(session: Sessions) -> None:
    mine, server = whoami(1), session()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of the parent's may run here
        try:
            connection.connection = None  # as Django's fix-up for Celery does it
            os.write(writing, json.dumps([whoami(2), whoami(3)]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = json.loads(pipe.read())
    os.waitpid(child, 0)

    assert theirs[0] == theirs[1] not in (None, mine)
    assert mine in ours(server)
    assert whoami(4) == mine


@pytest.mark.parametrize("name", ["idle_in_transaction_session_timeout", "transaction_timeout"])
def test_no_timeout_of_the_database_ends_a_lock_that_waits(session: Sessions, name: str) -> None:
    """Another session, idle in a transaction begun later, is ended: the time has passed."""
    server = session()
    if not server.execute("select current_setting(%s, true)", [name]).fetchone()[0]:  # type: ignore[index]
        pytest.skip(f"this PostgreSQL has no {name}")
    (database,) = column(server, "select current_database()")

    @idempotent_task(guarantee="at_most_once")
    def task() -> bool:
        pid = holder(current_execution().key)
        waiting = session()
        waiting.execute("begin")
        doomed = waiting.info.backend_pid
        wait_until(lambda: doomed not in ours(server), what=f"the {name} of another session")
        return pid == holder(current_execution().key)

    server.execute(f"alter database {database} set {name} = '200ms'")
    try:
        run_lock.close_all()
        assert task() is True
    finally:
        server.execute(f"alter database {database} reset {name}")


def test_it_takes_no_member_of_djangos_pool() -> None:
    """Bodies may be waiting for the last one."""

    @idempotent_task(guarantee="at_least_once")
    def task() -> int:
        return Effect.objects.count()

    settings = connection.settings_dict
    pool = {"min_size": 1, "max_size": 1, "timeout": 5}
    lasting, settings["CONN_MAX_AGE"] = settings["CONN_MAX_AGE"], 0
    there = connection.get_connection_params()
    try:
        with rerouted(there.get("host", ""), there.get("port", 5432), pool=pool):
            assert task() == 0
            getattr(connection, "close_pool")()  # noqa: B009 - only PostgreSQL has it
    finally:
        settings["CONN_MAX_AGE"] = lasting


class PgBouncer:
    """In transaction mode, with one server connection for each of its clients' transactions."""

    def __init__(self, folder: Path) -> None:
        there = connection.get_connection_params()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        server = {"host": there.get("host") or "127.0.0.1", "port": there.get("port") or 5432}
        if there.get("password"):
            server["password"] = there["password"]
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            "[databases]\n"
            f"* = user={there['user']} {' '.join(f'{k}={v}' for k, v in server.items())}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 10\n"
        )
        folder.chmod(0o755)
        configuration.chmod(0o644)
        command = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(configuration)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **self._account(server)
        )
        wait_until(self._listens, what="PgBouncer")

    def _account(self, server: dict[str, Any]) -> dict[str, Any]:
        """Not root, which it refuses; the server's own user where only that one gets in."""
        if os.geteuid() != 0:
            return {}
        if str(server["host"]).startswith("/"):
            owner = Path(server["host"]).stat()
            return {"user": owner.st_uid, "group": owner.st_gid}
        return {"user": "nobody"}

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read().decode())
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)


class TestPgBouncer:
    @pytest.fixture
    def bouncer(self, transactional_db: None, tmp_path_factory: Any) -> Iterator[PgBouncer]:
        if not shutil.which("pgbouncer") and not Path("/usr/sbin/pgbouncer").exists():
            pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
        folder = Path(os.path.realpath("/tmp"), f"pgbouncer-{os.getpid()}-{id(self)}")
        folder.mkdir()
        bouncer = PgBouncer(folder)
        try:
            with rerouted("127.0.0.1", bouncer.port, prepare_threshold=None):
                yield bouncer
        finally:
            bouncer.end()
            shutil.rmtree(folder)

    def test_the_lock_is_held_as_long_as_the_body_runs(
        self, bouncer: PgBouncer, session: Sessions
    ) -> None:
        """Body and lock share the pool; in transaction mode a session's lock would wander off."""
        inside, go_on = threading.Event(), threading.Event()

        @idempotent_task(guarantee="at_most_once")
        def task(number: int) -> int:
            for n in range(20):
                Effect.objects.create(key=str(number), note=str(n))
            inside.set()
            wait_for(go_on)
            return number

        with Elsewhere() as elsewhere:
            first = elsewhere.call(task, 7)
            wait_for(inside)
            assert [type(outcome) for outcome in at_once(4, lambda _: task(7))] == [
                ExecutionInProgress
            ] * 4
            go_on.set()
            assert first.result(PATIENCE) == 7
        assert task(7) == 7
        assert Effect.objects.count() == 20

    def test_steps_and_exactly_once_go_through_it_too(self, bouncer: PgBouncer) -> None:
        @idempotent_task()
        def inner(number: int) -> int:
            Effect.objects.create(key=str(number))
            return number

        @idempotent_task(guarantee="at_least_once")
        def task() -> list[int]:
            return [current_execution().step(f"{n}", inner, n) for n in range(3)]

        assert task() == task() == [0, 1, 2]
        assert TaskExecution.objects.filter(state="completed").count() == 4

    def test_no_setting_of_the_locks_stays_behind_in_the_pool(
        self, session: Sessions, request: pytest.FixtureRequest
    ) -> None:
        name, server = "idle_in_transaction_session_timeout", session()
        (database,) = column(server, "select current_database()")
        server.execute(f"alter database {database} set {name} = '1h'")
        try:
            request.getfixturevalue("bouncer")  # whose connections are all made from here on
            pid = whoami(1)

            def setting_of_that_session() -> str | None:
                with connection.cursor() as cursor:
                    cursor.execute("select pg_backend_pid(), current_setting(%s)", [name])
                    found, setting = cursor.fetchone()
                return setting if found == pid else None

            assert wait_until(setting_of_that_session) == "1h"
        finally:
            server.execute(f"alter database {database} reset {name}")
