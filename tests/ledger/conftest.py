"""What these tests stand on: a clock that can be moved, further sessions, the wire, the broker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection

from ledger import recent
from ledger.testing import Clock
from tests.ledger.inbox import Inbox
from tests.ledger.wire import Wire
from tests.workers import empty_broker


@pytest.fixture(autouse=True)
def nothing_recent() -> None:
    """What another test's database held is no hint for this one's."""
    recent._completed.clear()


@pytest.fixture
def clock(transactional_db: None, ledger_clock: Clock) -> Clock:
    return ledger_clock


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
