"""PgBouncer and RabbitMQ from the machine's packages: the run's own, on ports of their own."""

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import psutil

from core.embedded.postgresql import system_user
from tests.workers import wait_until

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# Not the wrapper in /usr/sbin, which would become the system's own RabbitMQ's user.
RABBITMQ = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class PgBouncer:
    """In transaction mode, between the workers and ``server_port``."""

    def __init__(self, folder: Path, server_port: int) -> None:
        self.folder = folder / "pgbouncer"
        self.server_port = server_port
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process:
            return
        self.folder.mkdir(exist_ok=True)
        (self.folder / "users.txt").write_text('"postgres" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.server_port} user=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {self.folder}/users.txt\n"
            "pool_mode = transaction\nmax_client_conn = 500\ndefault_pool_size = 60\n"
            "ignore_startup_parameters = extra_float_digits,options\n"
            "server_login_retry = 1\nserver_check_delay = 0\n"
        )
        options: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses root, as PostgreSQL does
            account = system_user("embedded_postgres")
            options = {"user": account.pw_uid, "group": account.pw_gid}
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [PGBOUNCER or "pgbouncer", self.folder / "pgbouncer.ini"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        wait_until(lambda: listens(self.port), what="PgBouncer")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


class RabbitMQ:
    """A node with its own data, cookie and name server: nothing of the system's RabbitMQ."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "rabbitmq"
        self.port = free_port()
        self._environment = {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"chaos-{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._names: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    @staticmethod
    def url_at(port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def start(self) -> None:
        """Start it, and return once it takes messages: some four seconds."""
        if self._node:
            return
        self.folder.mkdir(exist_ok=True)
        if not self._names:
            self._names = self._run("epmd")
        self._node = self._run(RABBITMQ or "rabbitmq-server")
        wait_until(lambda: listens(self.port), 60, f"RabbitMQ; its log is in {self.folder}")

    def kill(self) -> None:
        """SIGKILL all of it at once."""
        if self._node:
            node = psutil.Process(self._node.pid)
            everything = [node, *node.children(recursive=True)]
            for process in everything:
                process.kill()
            psutil.wait_procs(everything, timeout=10)
            self._node = None

    def stop(self) -> None:
        self.kill()
        if self._names:
            self._names.kill()
            self._names.wait()

    def messages(self) -> int:
        """How many it has, those included that are with a worker."""
        counted = subprocess.run(
            [Path(RABBITMQ or "").with_name("rabbitmqctl"), "list_queues", "--silent", "messages"],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return sum(map(int, counted.stdout.split()))

    def _run(self, program: str) -> subprocess.Popen[bytes]:
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                [program],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
