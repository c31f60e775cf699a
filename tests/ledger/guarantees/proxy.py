"""A network between this process and PostgreSQL that can be cut in the middle of a word."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, connections

from ledger import run_lock
from tests.ledger.threads import wait_for


class Proxy:
    """Passes everything on, until it is told otherwise.

    ``lose_request(text)``: when the client next sends ``text``, both ends are closed at once.
    ``lose_answer(text)``: the server gets it, and when it has answered, both ends are closed.
    ``lose_client(text)``: the client's end is closed; the server's stays open, so that the server
    does not learn of it, until ``end()``.
    ``down()`` and ``up()``: nobody gets through. ``accepted`` and ``refused`` count connections.
    """

    def __init__(self) -> None:
        there = connection.get_connection_params()
        host, port = there.get("host") or "127.0.0.1", int(there.get("port") or 5432)
        self._server = (
            (socket.AF_UNIX, f"{host}/.s.PGSQL.{port}")
            if host.startswith("/")
            else (socket.AF_INET, (host, port))
        )
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._down = False
        self._fault: tuple[str, bytes] | None = None
        self._done = threading.Event()
        self._left_open: list[socket.socket] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.refused = self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_request(self, text: str) -> None:
        self._expect("request", text)

    def lose_answer(self, text: str) -> None:
        self._expect("answer", text)

    def lose_client(self, text: str) -> None:
        self._expect("client", text)

    def down(self) -> None:
        self._down = True
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def up(self) -> None:
        self._down = False

    def wait(self) -> None:
        """Until the fault has happened."""
        wait_for(self._done)

    @property
    def has_cut(self) -> bool:
        return self._done.is_set()

    def end(self) -> None:
        """Close what the server was left with."""
        for left in self._left_open:
            left.close()
        self._left_open.clear()

    def close(self) -> None:
        self.down()
        self.end()
        self._listening.close()

    def _expect(self, kind: str, text: str) -> None:
        self._done.clear()
        self._fault = (kind, text.encode())

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self._down:
                self.refused += 1
                client.close()
                continue
            self.accepted += 1
            family, address = self._server
            server = socket.socket(family)
            server.connect(address)
            self._pairs.append((client, server))
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        keep = False
        with contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for end in ready:
                    data = end.recv(1 << 16)
                    if not data:
                        raise OSError
                    if end is client and self._fault and self._fault[1] in data:
                        kind, self._fault = self._fault[0], None
                        if kind == "answer":
                            server.sendall(data)
                            server.recv(1 << 16)
                        if kind == "client":
                            self._left_open.append(server)
                            keep = True
                        raise OSError
                    (server if end is client else client).sendall(data)
        client.close()
        if not keep:
            server.close()
        self._done.set()


@contextmanager
def proxied() -> Iterator[Proxy]:
    """This process's connections to the test's database go through a proxy."""
    proxy = Proxy()
    with rerouted("127.0.0.1", proxy.port):
        yield proxy
    proxy.close()


@contextmanager
def rerouted(host: str, port: int, **options: object) -> Iterator[None]:
    """New connections of this process go there; there are no others."""
    settings = connections["default"].settings_dict
    straight = {name: settings[name] for name in ("HOST", "PORT", "OPTIONS")}
    others = {k: v for k, v in settings["OPTIONS"].items() if k not in ("host", "port")}
    connections["default"].close()
    run_lock.close_all()
    settings.update(HOST=host, PORT=port, OPTIONS={**others, **options})
    try:
        yield
    finally:
        connections["default"].close()
        run_lock.close_all()
        settings.update(straight)
