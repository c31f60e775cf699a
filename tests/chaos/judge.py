"""What became of the executions, by the database and the bank's own book."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.world import World

TASKS = ("exactly_once", "at_least_once", "at_most_once", "steps")
PARTS = {"steps": 3}
"""How many effects an execution has; one where nothing is said."""


class Evidence(NamedTuple):
    states: dict[str, tuple[str, int]]
    """State and attempt of each execution, by its name: task and number."""
    effects: Counter[str]


@dataclass
class Verdict:
    """Of one task's executions in one episode. ``wrong`` lists what must not be."""

    held: int = 0
    lost: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)


def names(numbers: range) -> list[str]:
    return [f"{task}-{number}" for task in TASKS for number in numbers]


def settled(world: World, numbers: range, since: int) -> int:
    """How many executions are completed or held."""
    [[count]] = world.sql(
        "select count(distinct task_id) from ledger_taskexecution where id > %s "
        "and task_id = any(%s) and state in ('completed', 'held')",
        (since, names(numbers)),
    )
    return int(count)


def gather(world: World, numbers: range, since: int) -> Evidence:
    rows = world.sql(
        "select task_id, state, attempt from ledger_taskexecution "
        "where id > %s and task_id = any(%s) and retired_at is null",
        (since, names(numbers)),
    )
    effects: Counter[str] = Counter(
        dict(
            world.sql(
                "select key, count(*) from testapp_effect where key = any(%s) group by key",
                (names(numbers),),
            )
        )
    )
    booked = world.bank.book()["counts"]
    effects.update({name: booked[name] for name in names(numbers) if name in booked})
    return Evidence({name: (state, attempt) for name, state, attempt in rows}, effects)


def judge(evidence: Evidence, task: str, numbers: range, is_harmless: bool) -> Verdict:
    """``is_harmless``: nothing happened for which an execution may run again, or be held."""
    verdict = Verdict()
    parts = PARTS.get(task, 1)
    for number in numbers:
        name = f"{task}-{number}"
        state, attempt = evidence.states.get(name, ("without a row", 0))
        count = evidence.effects[name]
        if count > parts:
            verdict.twice += 1
            verdict.wrong.append(f"{name} took effect {count} times")
        elif state not in ("completed", "held") or (state == "completed" and count < parts):
            verdict.lost += 1
            verdict.wrong.append(f"{name} is lost: {state}, {count} effects")
        elif state == "held" and (task != "at_most_once" or is_harmless):
            verdict.wrong.append(f"{name} is held")
        elif attempt > 1 and is_harmless:
            verdict.wrong.append(f"{name} ran {attempt} times")
        verdict.held += state == "held"
    return verdict
