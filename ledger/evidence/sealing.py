"""What a sweep adds to the chain: batches of rows that became history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import store
from .models import Seal

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection


def seal(connection: Connection, settled: list[int], batch: int) -> int:
    """Seal what became history since the last time, up to settled ids, ``batch`` rows a link;
    returns how many rows were looked at. One at a time: where another sweep is sealing, there is
    nothing to do."""
    total = 0
    for kind, upto in zip(Seal.Kind, settled, strict=True):
        while done := store.seal_batch(connection, kind, upto, batch):
            total += done
    return total
