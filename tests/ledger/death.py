"""Workers that die: their connection ends in the middle of the body, without another word."""

from __future__ import annotations

import psycopg
import pytest
from django.db import connection

from ledger import LedgerUnavailable


def die() -> None:
    """End this thread's session, as when a worker is killed, and wait until the server is done."""
    session = connection.connection.info
    with psycopg.connect(session.dsn, password=session.password, autocommit=True) as server:
        ended = server.execute("select pg_terminate_backend(%s, 10000)", [session.backend_pid])
        assert ended.fetchone() == (True,)
    with connection.cursor() as cursor:
        cursor.execute("select 'the news of it'")


def dies(call: object, *args: object) -> None:
    """Make a call whose worker dies of it; to its caller the database went away."""
    assert callable(call)
    with pytest.raises(LedgerUnavailable):
        call(*args)
