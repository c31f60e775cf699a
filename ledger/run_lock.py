"""The connections that hold run locks while a body works elsewhere, one per thread and database.

An idle transaction that holds nothing but an advisory lock has neither a transaction id nor a
snapshot, so that even an hour's external call keeps no vacuum back. It occupies a server connection
for that time, behind PgBouncer too.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection


class _Kept(threading.local):
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.connections: dict[str, Connection] = {}


_kept = _Kept()


def connection_for(alias: str) -> Connection:
    """This thread's connection for run locks. One inherited through a fork is not used: the driver
    leaves it to the process that opened it."""
    if _kept.pid != os.getpid():
        _kept.pid, _kept.connections = os.getpid(), {}
    if alias not in _kept.connections:
        _kept.connections[alias] = _new(alias)
    return _kept.connections[alias]


def close_all() -> None:
    """Close this thread's connections, as before a test database is dropped."""
    for connection in _kept.connections.values():
        connection.close()
    _kept.connections.clear()


def _new(alias: str) -> Connection:
    """As Django's own, but never from its pool, whose members bodies may be waiting for."""
    model: Any = connections[alias]
    options = {
        name: value for name, value in model.settings_dict["OPTIONS"].items() if name != "pool"
    }
    connection: Connection = type(model)({**model.settings_dict, "OPTIONS": options}, alias)
    return connection
