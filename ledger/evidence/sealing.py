"""What a sweep adds to the chain: batches of rows that became history."""

from __future__ import annotations

import datetime as dt

from django.db import connections

from .. import store
from .models import Seal

PATIENCE = dt.timedelta(seconds=1)
"""How long transactions that are writing to the ledger may take to end; else the next sweep seals
what they leave."""


def seal(database: str, batch: int) -> int:
    """Seal what became history since the last time, ``batch`` rows a link; returns how many rows
    were looked at. One at a time: where another sweep is sealing, there is nothing to do."""
    settled = store.settled(connections[database], PATIENCE)
    with connections[database].cursor() as cursor:
        total = 0
        for kind, upto in zip(Seal.Kind, settled or (0, 0, 0), strict=True):
            while True:
                cursor.execute("select ledger_seal_batch(%s, %s, %s)", [kind.value, upto, batch])
                (done,) = cursor.fetchone()
                if not done:
                    break
                total += done
    return total
