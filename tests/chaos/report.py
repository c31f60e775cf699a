"""The table, and the history of what went wrong."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.episode import TASKS, Episode
from tests.chaos.world import World

GUARANTEE = {
    "exactly_once": "exactly once",
    "at_least_once": "at least once",
    "at_most_once": "at most once",
    "steps": "at least once, steps",
}


def table(episodes: Sequence[Episode]) -> Table:
    """Fault × guarantee × broker."""
    rows: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0] * 5)
    for episode in episodes:
        for task in TASKS:
            verdict = episode.verdicts[task]
            row = rows[episode.fault.name, GUARANTEE[task], episode.broker]
            for column, number in enumerate(
                (
                    len(episode.numbers),
                    episode.faults,
                    len(verdict.lost),
                    len(verdict.twice),
                    verdict.held,
                )
            ):
                row[column] += number
    result = Table(title="What broke, and what became of the executions")
    for heading in ("fault", "guarantee", "broker"):
        result.add_column(heading)
    for heading in ("executions", "faults", "lost", "twice", "held"):
        result.add_column(heading, justify="right")
    for key, row in rows.items():
        result.add_row(*key, *map(str, row))
    return result


def summary(episodes: Sequence[Episode], seed: int, seconds: float) -> str:
    executions = sum(episode.executions for episode in episodes)
    faults = sum(episode.faults for episode in episodes)
    lost = sum(len(v.lost) for e in episodes for v in e.verdicts.values())
    twice = sum(len(v.twice) for e in episodes for v in e.verdicts.values())
    held = sum(v.held for e in episodes for v in e.verdicts.values())
    by_broker = sum(episode.lost_by_broker for episode in episodes)
    return (
        f"{executions:,} executions, {faults:,} faults, {lost} lost, {twice} twice, {held} held "
        f"in {seconds:.0f} s (seed {seed}); {by_broker} had all their messages lost by a killed "
        "broker, and were published again"
    )


def keep_history(world: World, episode: Episode, folder: Path) -> Path:
    """Everything the ledger and the bank know of the executions that went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{episode.numbers.start}.json"
    wrong = [line for verdict in episode.verdicts.values() for line in verdict.wrong]
    names = {line.split(" ", 1)[0] for line in wrong}
    history = {
        "fault": episode.fault.name,
        "setting": episode.setting,
        "wrong": wrong,
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
    }
    path.write_text(json.dumps(history, indent=2, default=str))
    return path


def show(console: Console, episodes: Sequence[Episode], seed: int, seconds: float) -> None:
    console.print(table(episodes))
    console.print(summary(episodes, seed, seconds))
