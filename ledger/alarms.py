"""When somebody has to look: the thresholds, for Prometheus and for those who have none.

``manage.py ledger alarms`` prints them as Prometheus' rules. ``look`` twice, ``WINDOW`` seconds
apart, and ``raised`` says the same without it. ``docs/operations.md`` has a section for each: what
it means, what to look at, what to press.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from django.db import DEFAULT_DB_ALIAS

from .figures import Figures, read

WINDOW = 300
"""Seconds for which something must last, or over which it is counted."""

RUNBOOK = "docs/operations.md"

Sample = Mapping[str, float]
"""By task; under "" where it concerns no single one."""
Look = Mapping[str, Mapping[str, Sample]]
"""What was seen at one moment, by alarm and measure: JSON, to be sent to the second look."""


@dataclass(frozen=True)
class Alarm:
    name: str
    severity: str
    """``critical``: money or people wait; ``warning``: they will."""
    summary: str
    """Says what is wrong, without a number that changes."""
    expression: str
    """In PromQL, with the threshold as ``%g``."""

    threshold: float
    lasting: ClassVar[int] = 60
    """Seconds until a rule of Prometheus fires."""

    @property
    def runbook(self) -> str:
        return f"{RUNBOOK}#{self.name.lower()}"

    @property
    def rule(self) -> str:
        return self.expression % self.threshold


@dataclass(frozen=True)
class Level(Alarm):
    """Something is above the threshold now, and was a while ago."""

    measure: Callable[[Figures], Sample]
    lasting: ClassVar[int] = WINDOW

    def seen(self, figures: Figures) -> dict[str, Sample]:
        return {"level": self.measure(figures)}

    def is_over(self, figures: Figures) -> bool:
        """At this moment, of whatever task; it has not lasted yet."""
        return any(value > self.threshold for value in self.measure(figures).values())

    def raised(self, before: Mapping[str, Sample], now: Mapping[str, Sample]) -> list[str]:
        return [
            task
            for task, value in now["level"].items()
            if min(value, before["level"].get(task, 0)) > self.threshold
        ]


@dataclass(frozen=True)
class Share(Alarm):
    """Of what came in between, too large a part was of the one kind, and enough for a pattern."""

    part: str
    rest: str
    at_least: int
    lasting: ClassVar[int] = 0  # its rates are over the window already

    @property
    def rule(self) -> str:
        return self.expression % (self.threshold, self.at_least)

    def seen(self, figures: Figures) -> dict[str, Sample]:
        return {
            outcome: {task: figures.total(task, outcome) for task in figures.tasks}
            for outcome in (self.part, self.rest)
        }

    def raised(self, before: Mapping[str, Sample], now: Mapping[str, Sample]) -> list[str]:
        def came(outcome: str, task: str) -> float:
            return now[outcome].get(task, 0) - before[outcome].get(task, 0)

        return [
            task
            for task in now[self.part]
            if (part := came(self.part, task)) >= self.at_least
            and part > self.threshold * (part + came(self.rest, task))
        ]


_SHARE_OF_DUPLICATES = f"""\
sum by (task) (increase(ledger_duplicates_total[{WINDOW}s]))
/ (
  sum by (task) (increase(ledger_duplicates_total[{WINDOW}s]))
  + sum by (task) (increase(ledger_executions_total{{outcome="completed"}}[{WINDOW}s]))
) > %g
and sum by (task) (increase(ledger_duplicates_total[{WINDOW}s])) >= %g"""

UNREACHABLE = Alarm(
    name="LedgerUnreachable",
    severity="critical",
    summary="The ledger's database does not answer: tasks under the ledger do not run.",
    expression="ledger_up == %g or absent(ledger_up)",
    threshold=0,
)

LASTING: tuple[Level | Share, ...] = (
    Level(
        name="LedgerHeld",
        severity="critical",
        summary="Executions are held for a person's decision.",
        expression='sum by (task) (ledger_open_executions{state="held"}) > %g',
        threshold=0,
        measure=lambda figures: {task: found.held for task, found in figures.open.items()},
    ),
    Level(
        name="LedgerStuck",
        severity="critical",
        summary="Executions have no worker any more, and nothing has found them.",
        expression="sum by (task) (ledger_stuck_executions) > %g",
        threshold=0,
        measure=lambda figures: {task: found.stuck for task, found in figures.open.items()},
    ),
    Level(
        name="LedgerCrashLoop",
        severity="critical",
        summary="A task kills its workers, one after the other.",
        expression="max by (task) (ledger_crashes_in_a_row) > %g",
        threshold=1,
        measure=lambda figures: {task: found.crashes for task, found in figures.open.items()},
    ),
    Share(
        name="LedgerManyDuplicates",
        severity="warning",
        summary="Most of what arrives are duplicates.",
        expression=_SHARE_OF_DUPLICATES,
        threshold=0.5,
        part="skipped",
        rest="completed",
        at_least=20,
    ),
    Level(
        name="LedgerSweepBehind",
        severity="warning",
        summary="The sweep does not run, or does not keep up.",
        expression="ledger_sweep_lag_seconds > %g",
        threshold=1800,
        measure=lambda figures: {"": figures.sweep_lag},
    ),
    Level(
        name="LedgerOutboxBehind",
        severity="critical",
        summary="Follow-ups that are due are not published.",
        expression="ledger_outbox_lag_seconds > %g",
        threshold=120,
        measure=lambda figures: {"": figures.outbox_lag},
    ),
)

ALARMS: tuple[Alarm, ...] = (UNREACHABLE, *LASTING)


def look(database: str = DEFAULT_DB_ALIAS) -> Look:
    """What can be seen now. Raises Django's ``Error`` where the ledger is unreachable."""
    figures = read(database)
    return {alarm.name: alarm.seen(figures) for alarm in LASTING}


def raised(before: Look, now: Look) -> list[tuple[Alarm, str]]:
    """Which alarms hold for two looks ``WINDOW`` seconds apart, each with its task or ""."""
    return [
        (alarm, task)
        for alarm in LASTING
        if alarm.name in before  # else it came with a release, between the two
        for task in alarm.raised(before[alarm.name], now[alarm.name])
    ]
