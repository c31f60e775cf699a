"""What these tests stand on: a clock that can be moved, further sessions, the wire, the broker."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection

from ledger import recent
from tests.ledger.inbox import Inbox
from tests.ledger.wire import Wire
from tests.workers import empty_broker


class Clock:
    """The database's clock, which is the ledger's only one."""

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def forward(self, **period: float) -> None:
        """Let time pass: ``forward(hours=24, seconds=1)``."""
        self.ahead += dt.timedelta(**period)
        self._set()

    def back(self) -> None:
        self.ahead = dt.timedelta()
        self._set()

    def _set(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "create or replace function ledger_now() returns timestamptz"
                " language sql volatile parallel safe as"
                f" $$ select clock_timestamp() + interval '{self.ahead.total_seconds()} seconds' $$"
            )


@pytest.fixture(autouse=True)
def nothing_recent() -> None:
    """What another test's database held is no hint for this one's."""
    recent._completed.clear()


@pytest.fixture
def clock(transactional_db: None) -> Iterator[Clock]:
    clock = Clock()
    try:
        yield clock
    finally:
        clock.back()


@pytest.fixture
def session(transactional_db: None) -> Iterator[Callable[[], psycopg.Connection]]:
    """Opens further connections, in autocommit: to the server each is another process."""
    opened: list[psycopg.Connection] = []

    def open_session() -> psycopg.Connection:
        connection.ensure_connection()
        info = connection.connection.info
        opened.append(psycopg.connect(info.dsn, password=info.password, autocommit=True))
        return opened[-1]

    yield open_session
    for one in opened:
        with contextlib.suppress(psycopg.Error):
            one.close()


@pytest.fixture
def wire(transactional_db: None) -> Wire:
    """Counts what goes over this thread's connection, as libpq itself logs it."""
    return Wire(connection)


@pytest.fixture
def inbox(transactional_db: None, broker: None) -> Iterator[Inbox]:
    """This test's own queue on the real broker, its messages delivered in this process."""
    empty_broker()
    with Inbox.open() as inbox:
        yield inbox
