"""Errors of this process: what the database cannot tell, such as that it could not be reached."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from prometheus_client import Counter, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

ERRORS = Counter(
    "ledger_errors",
    "Errors of the ledger in this process, by task and kind",
    ["task", "error"],
)
KINDS = ("lost_claim", "unprotected", "unreachable", "unrecorded")
"""Of ``ledger.log``'s outcomes."""


class Counting(logging.Handler):
    """Counts what ``ledger.log`` tells of them."""

    def emit(self, record: logging.LogRecord) -> None:
        error = getattr(record, "ledger_outcome", "")
        if error in KINDS:
            ERRORS.labels(getattr(record, "ledger_task", ""), error).inc()


class ErrorsCollector(Collector):
    """This process's errors, or those of all processes that share ``PROMETHEUS_MULTIPROC_DIR``."""

    def collect(self) -> Iterable[Metric]:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return ERRORS.collect()
        everything = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
        found: Iterable[Metric] = everything.collect()  # type: ignore[no-untyped-call]
        return [metric for metric in found if metric.name == "ledger_errors"]


def count() -> None:
    """Begin to count, once a process."""
    logger = logging.getLogger("ledger")
    if not any(isinstance(handler, Counting) for handler in logger.handlers):
        logger.addHandler(Counting(logging.ERROR))
