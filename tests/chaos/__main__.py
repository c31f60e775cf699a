"""``python -m tests.chaos``. Exit status 0 only if every number is right."""

import argparse
import itertools
import os
import random
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from tests.chaos import report, servers
from tests.chaos.episode import Episode, assess, play
from tests.chaos.faults import ALL, Fault
from tests.chaos.world import Setting, World
from tests.workers import wait_until

QUICK_FOR_THREADS = ("SIGKILL of a worker", "lock's connection terminated")
DRAIN_SECONDS = 60
FAULTS_PER_VISIT = 6


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    chance = random.Random(options.seed)
    console.print(f"seed {options.seed}")
    episodes: list[Episode] = []
    began = time.monotonic()
    with World(options.folder / str(os.getpid())).running() as world:
        if not world.disk.mounted:
            console.print("Nothing may be mounted here: a trigger will say that the disk is full.")
        for setting, fault in plan(options, chance):
            world.use(setting)
            start = len(episodes) * 1000
            numbers = range(start, start + options.batch)
            episode = play(world, fault, numbers, chance, options.hits)
            if episode.found_nothing:  # all was done before it struck
                numbers = range(numbers.stop, numbers.stop + options.batch)
                episode = play(world, fault, numbers, chance, options.hits)
            episodes.append(episode)
            console.print(line(episode, time.monotonic() - began), soft_wrap=True)
            explain(console, world, episode, options)
        left = drain(world, episodes)
        for episode in episodes:  # what came late must have changed nothing
            before = episode.wrong
            assess(world, episode)
            if episode.wrong != before:
                console.print(f"later: {line(episode, time.monotonic() - began)}", soft_wrap=True)
                explain(console, world, episode, options)
    closing = report.summary(episodes, left, options.seed, time.monotonic() - began)
    report.show(console, episodes, closing)
    if options.write:
        command = shlex.join(["python", "-m", "tests.chaos", *sys.argv[1:]])
        report.write(episodes, command, date.today().isoformat(), closing)
    right = episodes and not left and not any(episode.wrong for episode in episodes)
    return 0 if right else 1


def line(episode: Episode, seconds: float) -> str:
    return (
        f"{seconds:6.0f} s  {'WRONG' if episode.wrong else 'right'}  {episode.fault.name}: "
        f"{episode.fault.promise} ({episode.setting}; {episode.executions} executions, "
        f"{episode.faults} faults, {episode.seconds:.1f} s)"
    )


def explain(console: Console, world: World, episode: Episode, options: argparse.Namespace) -> None:
    if episode.wrong:
        for what in episode.wrong:
            console.print(f"    {what}", style="red")
        kept = report.keep_history(world, episode, options.seed, options.history)
        console.print(f"    its history is kept in {kept}")


def drain(world: World, episodes: Sequence[Episode]) -> int:
    """Let the workers have all that is left on the brokers; returns how much they did not take."""
    left = 0
    for broker in dict.fromkeys(episode.setting.broker for episode in episodes):
        world.use(Setting(broker, "prefork", "direct"))
        try:
            wait_until(lambda: not world.messages(broker), DRAIN_SECONDS)  # noqa: B023
        except AssertionError:
            left += world.messages(broker)
    return left


def plan(options: argparse.Namespace, chance: random.Random) -> Iterator[tuple[Setting, Fault]]:
    """Settings and faults: each once with --quick, otherwise at random until the time is up."""
    brokers = available_brokers(options.broker)
    routes = ["direct", "pgbouncer"] if servers.PGBOUNCER else ["direct"]
    if len(routes) == 1:
        print("PgBouncer is not installed, so its half is left out: apt-get install pgbouncer")
    faults = [fault for fault in ALL if options.fault in fault.name]
    if not faults:
        sys.exit(
            f"No fault is called {options.fault!r}. There are: {', '.join(f.name for f in ALL)}"
        )
    if options.quick:
        for pool, (broker, route) in itertools.product(
            ("prefork", "threads"), zip(brokers, itertools.cycle(routes), strict=False)
        ):
            yield from (
                (Setting(broker, pool, route), fault)
                for fault in faults
                if fault.occurs_in(Setting(broker, pool, route))
                and (pool == "prefork" or fault.name in QUICK_FOR_THREADS)
            )
        return
    deadline = time.monotonic() + options.minutes * 60
    settings = [
        Setting(*parts) for parts in itertools.product(brokers, ("prefork", "threads"), routes)
    ]
    left: dict[Setting, list[Fault]] = {setting: [] for setting in settings}
    while True:
        chance.shuffle(settings)
        for setting in settings:
            for _ in range(FAULTS_PER_VISIT):
                if not left[setting]:  # each of them once, before any comes again
                    left[setting] = [fault for fault in faults if fault.occurs_in(setting)]
                    chance.shuffle(left[setting])
                if time.monotonic() > deadline:
                    return
                if left[setting]:
                    yield setting, left[setting].pop()


def available_brokers(wanted: str) -> list[str]:
    brokers = ["valkey", "rabbitmq"] if wanted == "both" else [wanted]
    if "rabbitmq" in brokers and not servers.RABBITMQ:
        remedy = "RabbitMQ is not installed: apt-get install rabbitmq-server"
        if wanted == "rabbitmq":
            sys.exit(remedy)
        print(f"{remedy}. Its half is left out.")
        brokers.remove("rabbitmq")
    return brokers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(1 << 30),
        help="repeat the plan of another run",
    )
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--broker", choices=("rabbitmq", "valkey", "both"), default="both")
    parser.add_argument("--fault", default="", help="only faults whose name contains this")
    parser.add_argument("--quick", action="store_true", help="each fault once")
    parser.add_argument("--batch", type=int, default=60, help="executions of each task an episode")
    parser.add_argument("--hits", type=int, default=6, help="times a fault strikes in an episode")
    parser.add_argument("--write", action="store_true", help="put the table into the document")
    parser.add_argument("--folder", type=Path, default=Path(".local/chaos"))
    parser.add_argument("--history", type=Path, default=Path(".local/chaos-history"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
