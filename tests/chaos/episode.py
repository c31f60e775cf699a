"""One episode: publish, break, settle, judge."""

import random
import time
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import judge
from tests.chaos.faults import Fault, heal
from tests.chaos.world import World

TASKS = ("exactly_once", "at_least_once", "at_most_once", "steps")
SETTLE_SECONDS = 90


@dataclass
class Episode:
    fault: Fault
    setting: str
    broker: str
    numbers: range
    """Each number is one execution of each task."""
    faults: int = 0
    lost_by_broker: int = 0
    """Executions of which no message arrived: Redis and Valkey pop one before anybody has it."""
    seconds: float = 0
    verdicts: dict[str, judge.Verdict] = field(default_factory=dict)

    @property
    def executions(self) -> int:
        return len(self.numbers) * len(TASKS)

    @property
    def is_right(self) -> bool:
        return all(verdict.is_right for verdict in self.verdicts.values())


def play(world: World, fault: Fault, numbers: range, chance: random.Random, hits: int) -> Episode:
    """An episode in the world's present setting. Raises nothing that a fault caused."""
    setting = world.setting
    assert setting is not None
    episode = Episode(fault, str(setting), setting.broker, numbers)
    began = time.monotonic()
    messages = _messages(fault, numbers, chance)
    if fault.inject is None:
        _publish(world, setting.broker, messages, fault.options)
        episode.faults = sum(bool(nuisance) or fault.copies > 2 for _, _, nuisance in messages[::2])
    else:
        share = max(1, len(messages) // (hits + 1))
        for hit in range(hits + 1):
            _publish(world, setting.broker, messages[hit * share : (hit + 1) * share])
            if hit < hits:
                time.sleep(chance.uniform(0.05, 0.4))
                episode.faults += fault.inject(world, chance)
        _publish(world, setting.broker, messages[(hits + 1) * share :])
    heal(world)
    _settle(world, episode)
    episode.verdicts = {task: judge.judge(world, task, numbers) for task in TASKS}
    episode.seconds = time.monotonic() - began
    return episode


def _messages(fault: Fault, numbers: range, chance: random.Random) -> list[tuple[str, int, str]]:
    messages = []
    for number in numbers:
        nuisance = fault.nuisance if number % 4 == 0 else ""
        copies = fault.copies if fault.copies <= 2 or number % 10 == 0 else 2
        messages += [(task, number, nuisance) for task in TASKS for _ in range(copies)]
    chance.shuffle(messages)
    return messages


def _publish(
    world: World,
    broker: str,
    messages: list[tuple[str, int, str]],
    options: tuple[tuple[str, float], ...] = (),
) -> None:
    app = world.app(broker)
    with app.producer_pool.acquire(block=True) as producer:
        for task, number, nuisance in messages:
            extra: dict[str, Any] = dict(options) if nuisance else {}
            app.send_task(
                f"chaos.{task}",
                (number, nuisance),
                task_id=f"{task}-{number}",
                producer=producer,
                retry=True,
                **extra,
            )


def _settle(world: World, episode: Episode) -> None:
    """Wait until every execution is completed or held. What a fault failed for good, or left
    without a message, is recorded: recover finds it, and it is published again, by hand."""
    deadline = time.monotonic() + SETTLE_SECONDS
    next_rescue = time.monotonic() + 5
    while time.monotonic() < deadline:
        if judge.is_settled(world, TASKS, episode.numbers):
            return
        world.use(world.setting)  # type: ignore[arg-type]
        if time.monotonic() > next_rescue:
            _rescue(world, episode)
            next_rescue = time.monotonic() + 5
        time.sleep(0.1)


def _rescue(world: World, episode: Episode) -> None:
    world.sql(
        "select ledger_abandon(key, id, attempt, 'chaos') from ledger_taskexecution "
        "where state = 'running' and completed_at is null and retired_at is null"
    )
    again = judge.recorded_as_failed(world, TASKS, episode.numbers)
    if episode.fault.may_lose_messages:
        unseen = judge.never_seen(world, TASKS, episode.numbers)
        episode.lost_by_broker += len(unseen)
        again += unseen
    _publish(world, episode.broker, [(task, number, "") for task, number in again])
