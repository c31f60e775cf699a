"""A sweep that has nothing to do, as most have, beside histories of different lengths."""

import statistics
import time
from collections.abc import Mapping

from ledger.sweep import sweep

ROUNDS = 15


def measure(histories: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds by the history's name: the median of some, after one that does what is due."""
    for alias in histories:
        sweep(alias)
    rounds = [
        {name: _milliseconds(alias) for alias, name in histories.items()} for _ in range(ROUNDS)
    ]
    return {name: statistics.median(round[name] for round in rounds) for name in histories.values()}


def _milliseconds(alias: str) -> float:
    start = time.perf_counter()
    sweep(alias)
    return (time.perf_counter() - start) * 1000
