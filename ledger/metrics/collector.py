from __future__ import annotations

import logging
from collections.abc import Iterator

from django.db import DEFAULT_DB_ALIAS, Error
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ..figures import Figures, Open, read

logger = logging.getLogger("ledger")

OUTCOMES = {"completed": "completed", "failed": "failed", "abandoned": "worker_lost"}
COUNTERS = {
    "skipped": ("ledger_duplicates", "Duplicates answered from the ledger"),
    "taken_over": ("ledger_take_overs", "Attempts begun because a worker was lost"),
    "held": ("ledger_holds", "Times an execution was held for a person's decision"),
    "lost_claim": ("ledger_lost_claims", "Attempts that ended after somebody else had taken over"),
    "unprotected": ("ledger_unprotected", "Bodies that ran while the ledger was unreachable"),
}


class LedgerCollector(Collector):
    """The ledger of one database, read at each scrape. ``ledger_up`` is 0 where it cannot be."""

    def __init__(self, database: str = DEFAULT_DB_ALIAS) -> None:
        self.database = database

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it reads nothing yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("ledger_up", "Whether the ledger's database answered")
        try:
            figures = read(self.database)
        except Error as error:
            logger.error("no figures: the ledger's database does not answer: %s", error)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _counters(figures)
        yield from _of_open_executions(figures)
        yield from _of_the_whole(figures)


def _counters(figures: Figures) -> Iterator[Metric]:
    """Zeros included, so that the first of a kind is an increase and not a new series."""
    ended = CounterMetricFamily(
        "ledger_executions", "Attempts that ended, by task and outcome", labels=["task", "outcome"]
    )
    for task in figures.tasks:
        for outcome, label in OUTCOMES.items():
            ended.add_metric([task, label], figures.total(task, outcome))
    yield ended
    for kind, (name, meaning) in COUNTERS.items():
        counter = CounterMetricFamily(name, f"{meaning}, by task", labels=["task"])
        for task in figures.tasks:
            counter.add_metric([task], figures.total(task, kind))
        yield counter


def _of_open_executions(figures: Figures) -> Iterator[Metric]:
    unfinished = GaugeMetricFamily(
        "ledger_open_executions",
        "Executions neither completed nor retired, by task and state",
        labels=["task", "state"],
    )
    stuck = GaugeMetricFamily(
        "ledger_stuck_executions", "Running executions without a worker, by task", labels=["task"]
    )
    oldest = GaugeMetricFamily(
        "ledger_oldest_running_seconds",
        "How long the longest running attempt has been running, by task",
        labels=["task"],
    )
    crashes = GaugeMetricFamily(
        "ledger_crashes_in_a_row",
        "Workers lost in a row by the open execution that lost the most, by task",
        labels=["task"],
    )
    for task in figures.tasks:
        found = figures.open.get(task, Open())
        for state in ("running", "failed", "held"):
            unfinished.add_metric([task, state], getattr(found, state))
        stuck.add_metric([task], found.stuck)
        oldest.add_metric([task], found.oldest_running)
        crashes.add_metric([task], found.crashes)
    yield from (unfinished, stuck, oldest, crashes)


def _of_the_whole(figures: Figures) -> Iterator[Metric]:
    for name, meaning, value in (
        (
            "ledger_live_executions",
            "Executions whose duplicates are recognised; an estimate beyond 10,000",
            figures.live,
        ),
        (
            "ledger_history_executions",
            "Retired executions not yet purged; an estimate beyond 10,000",
            figures.history,
        ),
        (
            "ledger_unpublished_follow_ups",
            "Follow-ups not yet published, up to 10,001",
            figures.unpublished,
        ),
        (
            "ledger_sweep_lag_seconds",
            "How long ago the sweep should have retired or purged what is most overdue",
            figures.sweep_lag,
        ),
        (
            "ledger_outbox_lag_seconds",
            "How long the oldest unpublished follow-up has waited",
            figures.outbox_lag,
        ),
    ):
        yield GaugeMetricFamily(name, meaning, value=value)
