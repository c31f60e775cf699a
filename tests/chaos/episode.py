"""One episode: publish, break, settle, judge."""

import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import judge
from tests.chaos.faults import Fault, heal
from tests.chaos.judge import TASKS, Verdict
from tests.chaos.world import Setting, World

SETTLE_SECONDS = 180
RESCUE_SECONDS = 3
HUNG_SECONDS = 20
"""Without any progress: then the workers are replaced, as whoever watches them would do."""
STRIKE_SECONDS = 3
"""How long a fault looks for something to harm."""

Message = tuple[str, int, str]
"""A task, its number, and its nuisance."""


@dataclass
class Episode:
    fault: Fault
    setting: Setting
    numbers: range
    """Each number is one execution of each task."""
    since: int = 0
    """Executions of this episode have a greater id."""
    faults: int = 0
    published_again: set[str] = field(default_factory=set)
    """The executions of which Valkey had lost the messages, or Celery acknowledged them at a hard
    time limit."""
    hung: bool = False
    """Whether workers had to be replaced because they did nothing any more."""
    seconds: float = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def executions(self) -> int:
        return len(self.numbers) * len(TASKS)

    @property
    def wrong(self) -> list[str]:
        found = [line for verdict in self.verdicts.values() for line in verdict.wrong]
        if self.found_nothing:
            found.append("the fault found nothing to harm")
        return found

    @property
    def found_nothing(self) -> bool:
        return self.fault.is_any and not self.faults


def play(world: World, fault: Fault, numbers: range, chance: random.Random, hits: int) -> Episode:
    """An episode in the world's present setting. Raises nothing that a fault caused."""
    assert world.setting is not None
    [[since]] = world.sql("select coalesce(max(id), 0) from ledger_taskexecution")
    episode = Episode(fault, world.setting, numbers, since)
    began = time.monotonic()
    messages = _messages(fault, numbers, chance)
    if fault.inject is None:
        episode.faults = len(numbers[:: fault.every]) * len(TASKS) * fault.is_any
        _publish(world, messages, fault.options)
    else:
        hits = min(hits, fault.most)
        for hit in range(hits):
            _publish(world, messages[hit::hits], fault.options)
            time.sleep(chance.uniform(0.05, 0.2))
            episode.faults += _strike(world, fault, chance)
    heal(world)
    _settle(world, episode)
    assess(world, episode)
    episode.seconds = time.monotonic() - began
    return episode


def assess(world: World, episode: Episode) -> None:
    """Judge it, for the first time or again."""
    evidence = judge.gather(world, episode.numbers, episode.since)
    episode.verdicts = {
        task: judge.judge(evidence, task, episode.numbers, episode.fault.is_harmless)
        for task in TASKS
    }


def _strike(world: World, fault: Fault, chance: random.Random) -> bool:
    assert fault.inject is not None
    deadline = time.monotonic() + STRIKE_SECONDS
    while not fault.inject(world, chance):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _messages(fault: Fault, numbers: range, chance: random.Random) -> list[Message]:
    messages = []
    for number in numbers:
        copies = fault.copies if number in numbers[:: fault.every] else 2
        nuisance = _nuisance(fault, numbers, number)
        messages += [(task, number, nuisance) for task in TASKS for _ in range(copies)]
    chance.shuffle(messages)
    return messages


def _nuisance(fault: Fault, numbers: range, number: int) -> str:
    return fault.nuisance if number in numbers[:: fault.every] else ""


def _publish(
    world: World,
    messages: list[Message],
    options: tuple[tuple[str, float], ...] = (),
) -> None:
    assert world.setting is not None
    app = world.app(world.setting.broker)
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
    """Wait until every execution is completed or held."""
    began = progress_at = time.monotonic()
    rescue_at = began + RESCUE_SECONDS
    before = 0
    while (settled := judge.settled(world, episode.numbers, episode.since)) < episode.executions:
        now = time.monotonic()
        if now > began + SETTLE_SECONDS:
            return
        if settled > before:
            before, progress_at = settled, now
        elif now > progress_at + HUNG_SECONDS:
            episode.hung = True
            world.end_workers()
            progress_at = now
        world.replace_dead_workers()
        if now > rescue_at:
            _rescue(world, episode)
            rescue_at = time.monotonic() + RESCUE_SECONDS
        time.sleep(0.1)


def _rescue(world: World, episode: Episode) -> None:
    """Publish again, as a person would, what is on record as not done and has no message any more:
    where Celery acknowledges it, or Valkey loses it. Elsewhere nothing is rescued."""
    fault, broker = episode.fault, episode.setting.broker
    valkey_lost = fault.valkey_loses and broker == "valkey"
    if not (fault.acknowledges or valkey_lost):
        return
    world.sql(
        "select ledger_abandon(key, id, attempt, 'chaos') from ledger_taskexecution "
        "where state = 'running' and completed_at is null and retired_at is null and id > %s",
        (episode.since,),
    )
    states = judge.gather(world, episode.numbers, episode.since).states
    missing: list[Message] = []
    waiting = world.waiting() if broker == "valkey" else set()
    for task, number in itertools.product(TASKS, episode.numbers):
        name = f"{task}-{number}"
        state = states.get(name, (None, 0))[0]
        if name in waiting or state not in (None, "failed"):
            continue
        if state is None and (not valkey_lost or world.has_received(name)):
            continue  # somebody had it: if it does not come back, it is lost
        missing.append((task, number, _nuisance(fault, episode.numbers, number)))
        episode.published_again.add(name)
    _publish(world, missing)
