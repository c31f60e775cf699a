"""The embedded servers: started by whoever comes first, shared by all, never two on one folder."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import psutil
import psycopg
import pytest
import redis

from core import embedded
from core.embedded import LOCAL, EmbeddedServer, EmbeddedServerError, PostgreSQL, Valkey
from tests.workers import wait_until

ROOT = Path(__file__).resolve().parents[2]
each_server = pytest.mark.parametrize("server_class", [PostgreSQL, Valkey])


@contextlib.contextmanager
def removed_afterwards(local: Path) -> Iterator[Path]:
    try:
        yield local
    finally:
        embedded.stop(local)
        for server_class in embedded.SERVERS.values():
            shutil.rmtree(server_class(local).socket_folder, ignore_errors=True)
        shutil.rmtree(local, ignore_errors=True)


@pytest.fixture
def local() -> Iterator[Path]:
    """A folder for this test's own servers. Not under tmp_path, which only its owner may enter."""
    with removed_afterwards(LOCAL / "embedded-tests" / uuid4().hex[:8]) as folder:
        yield folder


class Command(Protocol):
    def __call__(self, local: Path, name: str, then: str = "") -> subprocess.Popen[str]: ...


@pytest.fixture
def command() -> Iterator[Command]:
    """Another command of the checkout that needs the server, in a process group of its own."""
    with contextlib.ExitStack() as ending:

        def run(local: Path, name: str, then: str = "") -> subprocess.Popen[str]:
            code = (
                "from core import embedded; from pathlib import Path\n"
                f"embedded.start([{name!r}], Path({str(local)!r}))\n"
                f"print('started', flush=True)\n{then}"
            )
            process = ending.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    start_new_session=True,
                )
            )
            ending.callback(process.kill)
            return process

        yield run


def servers_on(folder: Path) -> list[psutil.Process]:
    """The main processes of the servers that work in ``folder``; their forks are left out."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = (process, process.ppid())
    return [process for process, parent in found.values() if parent not in found]


def remember(server: EmbeddedServer) -> None:
    if isinstance(server, PostgreSQL):
        with connect(server) as connection:
            connection.execute("create table memory as select 1")
    else:
        redis.Redis(unix_socket_path=str(server.socket_path)).set("memory", 1)


def remembers(server: EmbeddedServer) -> bool:
    if isinstance(server, PostgreSQL):
        with connect(server) as connection:
            return connection.execute("select * from memory").fetchall() == [(1,)]
    return redis.Redis(unix_socket_path=str(server.socket_path)).get("memory") == b"1"


def connect(server: PostgreSQL) -> psycopg.Connection:
    return psycopg.connect(host=str(server.socket_folder), user=server.user, dbname=server.database)


@each_server
@pytest.mark.parametrize("death", [signal.SIGINT, signal.SIGKILL])
def test_a_server_outlives_whoever_started_it_and_the_next_command_shares_it(
    local: Path, command: Command, server_class: type[EmbeddedServer], death: signal.Signals
) -> None:
    server = server_class(local)
    starter = command(local, server.name, then="import signal; signal.pause()")
    assert starter.stdout is not None
    assert starter.stdout.readline() == "started\n"
    [before] = servers_on(server.folder)

    os.killpg(starter.pid, death)
    starter.wait()

    assert server.answers()
    assert command(local, server.name).wait() == 0
    assert servers_on(server.folder) == [before]


@each_server
def test_a_killed_server_is_started_again_with_all_it_had_kept(
    local: Path, server_class: type[EmbeddedServer]
) -> None:
    server = server_class(local)
    server.start()
    remember(server)
    [running] = servers_on(server.folder)

    running.kill()
    wait_until(lambda: not server.answers())
    server.start()

    assert remembers(server)
    [restarted] = servers_on(server.folder)
    assert restarted != running


@each_server
def test_what_was_kept_survives_a_stop(local: Path, server_class: type[EmbeddedServer]) -> None:
    server = server_class(local)
    server.start()
    remember(server)

    assert server.stop()

    assert servers_on(server.folder) == []
    server.start()
    assert remembers(server)


@each_server
def test_concurrent_first_commands_start_one_server(
    local: Path, command: Command, server_class: type[EmbeddedServer]
) -> None:
    commands = [command(local, server_class.name) for _ in range(5)]

    assert [started.wait() for started in commands] == [0] * 5
    assert len(servers_on(server_class(local).folder)) == 1


def test_orphans_of_a_killed_postmaster_never_see_a_second_server_on_their_folder(
    local: Path, command: Command
) -> None:
    server = PostgreSQL(local)
    server.start()
    [postmaster] = servers_on(server.folder)
    orphan = max(postmaster.children(), key=lambda child: child.pid)
    orphan.suspend()
    postmaster.kill()
    wait_until(lambda: not server.answers())

    waiting = command(local, server.name)

    wait_until(lambda: set(servers_on(server.folder)) == {orphan})
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=1)
    orphan.resume()
    assert waiting.wait() == 0
    assert orphan not in servers_on(server.folder)


def test_a_pid_file_that_names_a_living_stranger_is_not_believed(local: Path) -> None:
    server, stranger = PostgreSQL(local), PostgreSQL(local / "stranger")
    local.mkdir(parents=True)
    for each in (server, stranger):
        each.start()
    server.stop()
    pid_file = (stranger.data / "postmaster.pid").read_text()
    (server.data / "postmaster.pid").write_text(pid_file)
    (server.socket_folder / f"{server.socket_name}.lock").write_text(pid_file)

    server.start()

    with connect(server) as connection:
        [[folder]] = connection.execute("show data_directory").fetchall()
    assert folder == str(server.data)
    stranger.stop()


def test_an_interrupted_creation_leaves_nothing_behind(local: Path, command: Command) -> None:
    server = PostgreSQL(local)
    starter = command(local, server.name)
    wait_until((server.folder / "data.unfinished" / "PG_VERSION").exists)

    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()

    server.start()
    remember(server)
    assert len(servers_on(server.folder)) == 1


@each_server
def test_starting_what_runs_costs_milliseconds(
    local: Path, server_class: type[EmbeddedServer]
) -> None:
    server = server_class(local)
    server.start()

    def seconds() -> float:
        before = time.perf_counter()
        server.start()
        return time.perf_counter() - before

    assert min(seconds() for _ in range(10)) < 0.05


@each_server
@pytest.mark.parametrize("name", ["with space's", "deep/" * 20 + "checkout"], ids=["odd", "deep"])
def test_any_checkout_path_will_do(server_class: type[EmbeddedServer], name: str) -> None:
    with removed_afterwards(LOCAL / "embedded-tests" / uuid4().hex[:8] / name) as local:
        server = server_class(local)
        server.start()
        remember(server)
        assert remembers(server_class(local))
        assert server.socket_folder.stat().st_mode & 0o077 == 0


def test_a_socket_folder_that_somebody_else_prepared_is_refused(tmp_path: Path) -> None:
    with removed_afterwards(LOCAL / "embedded-tests" / uuid4().hex[:8] / ("deep/" * 20)) as local:
        server = Valkey(local)
        server.socket_folder.symlink_to(tmp_path)
        try:
            with pytest.raises(EmbeddedServerError, match="belongs to somebody else"):
                server.start()
        finally:
            server.socket_folder.unlink()


def test_a_server_that_does_not_start_says_why(local: Path) -> None:
    server = PostgreSQL(local)
    server.start()
    server.stop()
    with (server.data / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")

    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        server.start()


@each_server
def test_a_folder_whose_holder_never_answers_is_reported(
    local: Path, server_class: type[EmbeddedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_class(local)
    local.mkdir(parents=True)
    monkeypatch.setattr("core.embedded.server.START_SECONDS", 0.1)
    with server.lock_path.open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedServerError, match=f"has not answered.*{server.lock_path}"):
            server.start()


def test_stopping_what_does_not_run_does_nothing(local: Path) -> None:
    assert embedded.stop(local) == []


def test_importing_settings_and_tasks_starts_nothing() -> None:
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from core.embedded import EmbeddedServer\n"
            "EmbeddedServer.start = lambda self: exit('a server was started')\n"
            "import core.settings, core.celery, django\n"
            "core.celery.app.conf.broker_url\n"
            "django.setup()",
        ],
        cwd=ROOT,
        check=True,
    )
