"""What became of the executions, by the database and the bank's own book."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.world import World


@dataclass
class Verdict:
    """Of one task's executions in one episode. ``wrong`` lists what must not be."""

    completed: int = 0
    held: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.wrong


def states(world: World, task: str, numbers: range) -> dict[int, str]:
    """The state of each execution's live row; a number without a row is absent."""
    rows = world.sql(
        "select (arguments->>'number')::bigint, state from ledger_taskexecution "
        "where task_name = %s and retired_at is null "
        "and (arguments->>'number')::bigint >= %s and (arguments->>'number')::bigint < %s",
        (f"chaos.{task}", numbers.start, numbers.stop),
    )
    return dict(rows)


def is_settled(world: World, tasks: Sequence[str], numbers: range) -> bool:
    return all(
        sum(state in ("completed", "held") for state in states(world, task, numbers).values())
        == len(numbers)
        for task in tasks
    )


def recorded_as_failed(world: World, tasks: Sequence[str], numbers: range) -> list[tuple[str, int]]:
    return [
        (task, number)
        for task in tasks
        for number, state in states(world, task, numbers).items()
        if state == "failed"
    ]


def never_seen(world: World, tasks: Sequence[str], numbers: range) -> list[tuple[str, int]]:
    """Executions that no worker has claimed."""
    found = {task: states(world, task, numbers) for task in tasks}
    return [(task, number) for task in tasks for number in numbers if number not in found[task]]


def judge(world: World, task: str, numbers: range) -> Verdict:
    found = states(world, task, numbers)
    effects = _effects(world, task, numbers)
    verdict = Verdict(
        completed=sum(state == "completed" for state in found.values()),
        held=sum(state == "held" for state in found.values()),
    )
    parts = 3 if task == "steps" else 1
    for number in numbers:
        state, count = found.get(number, "no row"), effects.get(number, 0)
        if count > parts:
            verdict.twice.append(number)
        elif (state == "completed" and count < parts) or state not in ("completed", "held"):
            verdict.lost.append(number)
        elif state == "held" and task != "at_most_once":
            verdict.wrong.append(f"{task}-{number} is held")
    verdict.wrong += [f"{task}-{n} took effect {effects[n]} times" for n in verdict.twice]
    verdict.wrong += [
        f"{task}-{n} is lost: {found.get(n, 'no row')}, {effects.get(n, 0)} effects"
        for n in verdict.lost
    ]
    return verdict


def _effects(world: World, task: str, numbers: range) -> dict[int, int]:
    """How often each took effect."""
    if task in ("exactly_once", "steps"):
        rows = world.sql(
            "select split_part(key, '-', 2)::bigint as number, count(*) from testapp_effect "
            "where key like %s group by 1",
            (f"{task}-%",),
        )
        return {number: count for number, count in rows if number in numbers}
    counts = world.bank.book()["counts"]
    return {number: counts.get(f"{task}-{number}", 0) for number in numbers}
