"""First runs and duplicates beside histories of different lengths, in interleaved rounds."""

import itertools
import logging
import time
from collections.abc import Mapping

from django.db import connections

from benchmarks.measure import Case
from benchmarks.measure import measure as measure_rounds
from ledger import idempotent_task

CALLS = 200
FOR_READERS = (
    "ledger_claimed",
    "ledger_by_task",
    "ledger_by_task_id",
    "ledger_by_argument",
    "ledger_key_history",
    "ledger_unusual",
)
"""Indexes that no claim and no sweep needs."""


def measure(histories: Mapping[str, str], rounds: int) -> list[Case]:
    """A first run and a duplicate in each of these databases, by alias, and in ``bare``. Their
    executions stay there, some ten thousand."""
    named = {**histories, "bare": "0 executions, without the indexes for readers"}
    logging.getLogger().handlers = [logging.NullHandler()]  # everybody logs, nobody prints
    cases = [case for alias, name in named.items() for case in _of(alias, name)]
    measure_rounds(cases, rounds, CALLS, lambda: None)
    return cases


def _of(alias: str, name: str) -> list[Case]:
    numbers = itertools.count(time.time_ns())

    @idempotent_task(ttl_hours=1, using=alias)
    def nothing(number: int) -> int:
        return number

    nothing(0)
    with connections[alias].cursor() as cursor:
        cursor.execute("analyze ledger_taskexecution")
    return [
        Case(f"first run, {name}", lambda: nothing(next(numbers))),
        Case(f"duplicate, {name}", lambda: nothing(0)),
    ]
