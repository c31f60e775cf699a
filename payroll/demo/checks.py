"""What must hold in a database when its month is paid, asked in SQL that stands in checks.sql."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import namedtuple_row

from . import databases

HEADING = "-- check: "
SHOWN = 5


class Violation(NamedTuple):
    who: str
    expected: str
    found: str


@dataclass(frozen=True)
class Check:
    """A promise, and those for whom it does not hold."""

    promise: str
    violations: list[Violation]

    @property
    def holds(self) -> bool:
        return not self.violations

    def __str__(self) -> str:
        if self.holds:
            return f"✓ {self.promise}"
        lines = [f"{v.who}: expected {v.expected}, found {v.found}" for v in self.violations]
        if len(lines) > SHOWN:
            lines[SHOWN:] = [f"and {len(lines) - SHOWN} more"]
        return "\n    ".join([f"✗ {self.promise}", *lines])


def check_month(session: psycopg.Connection, year: int, month: int) -> Iterator[Check]:
    """Every check of checks.sql, in its order."""
    _, *sections = databases.read_file("checks.sql").decode().split(HEADING)
    for section in sections:
        promise, query = section.split("\n", 1)
        found = session.execute(query.encode(), {"year": year, "month": month}).fetchall()
        yield Check(promise, sorted(Violation(*row) for row in found))


def check(promise: str, holds: bool, who: str, expected: object, found: object) -> Check:
    """A check that is not asked in SQL."""
    return Check(promise, [] if holds else [Violation(who, str(expected), str(found))])


def numbers(session: psycopg.Connection, year: int, month: int) -> Any:
    """What happened: a row with the names of numbers.sql."""
    cursor = session.cursor(row_factory=namedtuple_row)
    query = databases.read_file("numbers.sql")
    return cursor.execute(query, {"year": year, "month": month}).fetchone()
