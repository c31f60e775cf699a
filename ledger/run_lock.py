"""The connections that hold run locks while a body works elsewhere, one for each lock held.

An idle transaction that holds nothing but an advisory lock has neither a transaction id nor a
snapshot, so that even an hour's external call keeps no vacuum back. It occupies a server connection
for that time, behind PgBouncer too. Afterwards the thread keeps it for its next run.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection


class _Idle(dict[str, list["Connection"]]):
    """One thread's connections that hold no lock, by alias. They are closed when it ends. Those
    that came through a fork are the parent's: neither used nor closed here."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def close(self) -> None:
        if self.pid == os.getpid():
            for connection in itertools.chain.from_iterable(self.values()):
                connection.close()
        self.clear()

    __del__ = close


class _Kept(threading.local):
    def __init__(self) -> None:
        self.idle = _Idle()


_kept = _Kept()


@contextmanager
def borrowed(alias: str) -> Iterator[Connection]:
    """A connection that nobody else uses meanwhile, and that outlives the block: a body may call
    another task, whose lock must not end this one's."""
    if _kept.idle.pid != os.getpid():
        _kept.idle = _Idle()
    idle = _kept.idle.get(alias)
    connection = idle.pop() if idle else _new(alias)
    try:
        yield connection
    finally:
        _kept.idle.setdefault(alias, []).append(connection)


def close_all() -> None:
    """Close this thread's idle connections, as before a test database is dropped."""
    _kept.idle.close()


def _new(alias: str) -> Connection:
    """As Django's own, but never from its pool, whose members bodies may be waiting for."""
    model: Any = connections[alias]
    options = {
        name: value for name, value in model.settings_dict["OPTIONS"].items() if name != "pool"
    }
    # Under its own alias, django.contrib.postgres would open the body's connection with this one.
    connection: Connection = type(model)({**model.settings_dict, "OPTIONS": options}, NO_DB_ALIAS)
    connection.inc_thread_sharing()  # used by one thread, but it may be closed as that one ends
    return connection
