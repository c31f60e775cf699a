"""First runs and duplicates beside histories of different lengths, in interleaved rounds."""

import itertools
import time
from collections.abc import Mapping

from django.db import connections

from benchmarks.measure import Case
from benchmarks.measure import measure as measure_rounds
from ledger import idempotent_task

CALLS = 200


def measure(histories: Mapping[int, str], rounds: int) -> list[Case]:
    """By database: a first run and a duplicate. Their executions stay there, some ten thousand."""
    cases = [case for rows, alias in histories.items() for case in _of(rows, alias)]
    measure_rounds(cases, rounds, CALLS, lambda: None)
    return cases


def _of(rows: int, alias: str) -> list[Case]:
    numbers = itertools.count(time.time_ns())

    @idempotent_task(ttl_hours=1, using=alias)
    def nothing(number: int) -> int:
        return number

    nothing(0)
    with connections[alias].cursor() as cursor:
        cursor.execute("analyze ledger_taskexecution")
    return [
        Case(f"first run, {rows:,} executions", lambda: nothing(next(numbers))),
        Case(f"duplicate, {rows:,} executions", lambda: nothing(0)),
    ]
