"""Workers that die: their connection ends in the middle of the body, without another word."""

from __future__ import annotations

import pytest
from django.db import connection

from ledger import LedgerUnavailable


def die() -> None:
    """End this session from within, as the server sees a killed worker end."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pg_backend_pid())")


def dies(call: object, *args: object) -> None:
    """Make a call whose worker dies of it; to its caller the database went away."""
    assert callable(call)
    with pytest.raises(LedgerUnavailable):
        call(*args)
