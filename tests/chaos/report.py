"""The table, and the history of what went wrong."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from payroll.bank_guarantees import documents
from tests.chaos.episode import Episode
from tests.chaos.faults import ALL
from tests.chaos.world import World
from tests.workers import ROOT

DOCUMENT = ROOT / "docs" / "reliability.md"
WORDS = ("fault", "guarantee", "broker")
NUMBERS = ("executions", "faults", "lost", "twice", "held")
GUARANTEE = {
    "exactly_once": "exactly once",
    "at_least_once": "at least once",
    "steps": "at least once",
    "at_most_once": "at most once",
}


def rows(episodes: Iterable[Episode]) -> list[tuple[str, ...]]:
    """Fault × guarantee × broker."""
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * len(NUMBERS))
    for episode in episodes:
        struck = set()
        for task, verdict in episode.verdicts.items():
            guarantee = GUARANTEE[task]
            row = sums[episode.fault.name, guarantee, episode.setting.broker]
            faults = 0 if guarantee in struck else episode.faults  # of two tasks, once
            struck.add(guarantee)
            numbers = (len(episode.numbers), faults, verdict.lost, verdict.twice, verdict.held)
            for column, number in enumerate(numbers):
                row[column] += number
    return [(*words, *map(str, numbers)) for words, numbers in sorted(sums.items())]


def summary(episodes: Sequence[Episode], left: int, seed: int, seconds: float) -> str:
    verdicts = [verdict for episode in episodes for verdict in episode.verdicts.values()]
    again = sum(len(episode.published_again) for episode in episodes)
    acknowledged = sum(
        len(episode.published_again) for episode in episodes if episode.fault.acknowledges
    )
    return (
        f"{sum(episode.executions for episode in episodes):,} executions, "
        f"{sum(episode.faults for episode in episodes):,} faults, "
        f"{sum(verdict.lost for verdict in verdicts)} lost, "
        f"{sum(verdict.twice for verdict in verdicts)} twice, "
        f"{sum(verdict.held for verdict in verdicts)} held "
        f"in {seconds:.0f} s (seed {seed}). Published again: "
        f"{again - acknowledged} of which Valkey had lost every message, "
        f"{acknowledged} that Celery had acknowledged at a hard time limit. "
        f"Messages left on the brokers: {left}. "
        f"Times that workers hung and were replaced: {sum(episode.hung for episode in episodes)}."
    )


def show(console: Console, episodes: Sequence[Episode], closing: str) -> None:
    table = Table(title="What broke, and what became of the executions")
    for heading in WORDS:
        table.add_column(heading)
    for heading in NUMBERS:
        table.add_column(heading, justify="right")
    for row in rows(episodes):
        table.add_row(*row)
    console.print(table)
    console.print(closing, soft_wrap=True)


def promises() -> str:
    """What holds under each fault, and which test shows it alone."""
    lines = ["| fault | what holds | a test of its own |", "|---|---|---|"]
    lines += [f"| {f.name} | {f.promise} | `{f.shown_by.partition('::')[2]}` |" for f in ALL]
    return "\n".join(lines) + "\n"


def write(episodes: Sequence[Episode], command: str, day: str, closing: str) -> None:
    """Put the table into the document."""
    lines = [f"`{command}`, on {day}: {closing}", ""]
    lines += [f"| {' | '.join((*WORDS, *NUMBERS))} |"]
    lines += ["|---" * len(WORDS) + "|---:" * len(NUMBERS) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(episodes)]
    documents.put(DOCUMENT, "chaos-faults", promises())
    documents.put(DOCUMENT, "chaos-table", "\n".join(lines) + "\n")


def keep_history(world: World, episode: Episode, seed: int, folder: Path) -> Path:
    """Everything that is known of the executions that went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{seed}-{episode.numbers.start}.json"
    names = {line.split(" ", 1)[0] for line in episode.wrong}
    logs = (log.read_text(errors="replace") for log in (world.folder / "workers").iterdir())
    history = {
        "seed": seed,
        "fault": episode.fault.name,
        "setting": str(episode.setting),
        "wrong": episode.wrong,
        "executions": world.sql(
            "select row_to_json(e)::text from ledger_taskexecution e where task_id = any(%s)",
            (list(names),),
        ),
        "events": world.sql(
            "select row_to_json(v)::text from ledger_executionevent v join ledger_taskexecution e "
            "on e.id = v.execution_id where e.task_id = any(%s) order by v.id",
            (list(names),),
        ),
        "effects": world.sql(
            "select row_to_json(f)::text from testapp_effect f where key = any(%s)", (list(names),)
        ),
        "bookings": [
            booking for booking in world.bank.book()["bookings"] if booking["reference"] in names
        ],
        "logged": sorted(
            line
            for log in logs
            for line in log.splitlines()
            if any(f"[{name}]" in line for name in names)
        ),
    }
    path.write_text(json.dumps(history, indent=2, default=str))
    return path
