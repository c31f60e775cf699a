from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from django.db import connection, models, transaction

from .csv_file import BadFile, BadRow, Row, read

BATCH = 1000
"""Rows held in memory and sent to the database at once."""

Outcome = Literal["added", "changed", "unchanged"]


class Import(Protocol):
    """What is particular to one kind of file."""

    @property
    def model(self) -> type[models.Model]: ...

    @property
    def columns(self) -> Sequence[str]: ...

    def write(self, rows: Sequence[dict[str, str]]) -> list[Outcome | BadRow]:
        """Write a batch of rows and say of each what came of it."""


@dataclass(slots=True)
class Counts:
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    rejected: int = 0


def import_file(
    path: Path,
    importer: Import,
    *,
    strict: bool = False,
    rejected: Callable[[int, BadRow], object] = lambda _line, _reason: None,
    progress: Callable[[int], object] = lambda _bytes: None,
) -> Counts:
    """Import a file, all of it or nothing, but for the rows that are reported to `rejected`.

    Raises BadFile, and if strict also for the first row that is wrong.
    """
    counts = Counts()
    with transaction.atomic():
        # Two imports at once could both find a row missing and add it.
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(importer.model._meta.db_table)
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        for batch in _batches(read(path, importer.columns, progress)):
            good = [row.cells for row in batch if not isinstance(row.cells, BadRow)]
            outcomes = iter(importer.write(good))
            for row in batch:
                outcome = row.cells if isinstance(row.cells, BadRow) else next(outcomes)
                if isinstance(outcome, BadRow):
                    if strict:
                        raise BadFile(f"{path}, line {row.line}: {outcome}. Nothing was imported.")
                    counts.rejected += 1
                    rejected(row.line, outcome)
                else:
                    setattr(counts, outcome, getattr(counts, outcome) + 1)
    return counts


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
