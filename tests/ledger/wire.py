"""What really goes over a database connection, by libpq's own trace: no wrapper can flatter it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db.backends.base.base import BaseDatabaseWrapper

SUPPRESS_TIMESTAMPS = 1
MESSAGE = re.compile(r"^([FB])\t\d+\t(\w+)(?:\t(.*))?$")


@dataclass
class Traffic:
    """``sent``: the queries, one a round trip. ``replies``: how often the server was done."""

    sent: list[str] = field(default_factory=list)
    replies: int = 0

    @property
    def statements(self) -> list[str]:
        """Single statements by their first word, or by the ledger's function that they call."""
        found = []
        for batch in self.sent:
            for statement in re.sub(r"'(?:[^']|'')*'", "?", batch).split(";"):
                called = re.search(r"ledger_\w+(?=\()", statement)
                found.append(called.group() if called else statement.split()[0].lower())
        return found


class Wire:
    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @contextmanager
    def watched(self) -> Iterator[Traffic]:
        """Traffic of the block, complete when the block has ended."""
        self.connection.ensure_connection()
        wire = self.connection.connection.pgconn
        traffic = Traffic()
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            wire.trace(log.fileno())
            wire.set_trace_flags(SUPPRESS_TIMESTAMPS)
            try:
                yield traffic
            finally:
                wire.untrace()
            log.seek(0)
            for line in log:
                if message := MESSAGE.match(line.rstrip("\n")):
                    side, kind, text = message.groups()
                    if side == "F" and kind in ("Query", "Parse"):
                        traffic.sent.append((text or "").strip().strip('"'))
                    traffic.replies += side == "B" and kind == "ReadyForQuery"
