"""Interleaved rounds in one process: what is compared is measured side by side."""

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Case:
    """Something to time. ``run`` does it once."""

    name: str
    run: Callable[[], object]
    microseconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.microseconds)


@dataclass(frozen=True)
class Comparison:
    """``case`` should take at most ``target`` times as long as ``baseline``."""

    title: str
    case: Case
    baseline: Case
    target: float

    @property
    def ratio(self) -> float:
        """Median over the rounds of the ratio within a round, which a change of the machine's speed
        between rounds does not touch."""
        pairs = zip(self.case.microseconds, self.baseline.microseconds, strict=True)
        return statistics.median(a / b for a, b in pairs)


def measure(cases: list[Case], rounds: int, calls: int, each_round: Callable[[], None]) -> None:
    """Time ``calls`` calls of each case in every round, after one round that does not count."""
    for number in range(rounds + 1):
        for case in random.sample(cases, len(cases)):
            start = time.perf_counter()
            for _ in range(calls):
                case.run()
            took = (time.perf_counter() - start) / calls * 1e6
            if number:
                case.microseconds.append(took)
        each_round()
