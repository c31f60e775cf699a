"""``python -m tests.chaos``. Exit status 0 only if every number is right."""

import argparse
import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from tests.chaos import report
from tests.chaos.episode import Episode, play
from tests.chaos.faults import ALL, Fault
from tests.chaos.world import RABBITMQ, Setting, World, find_pgbouncer


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))
    console = Console(width=None if sys.stdout.isatty() else 140)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    chance = random.Random(seed)
    console.print(f"seed {seed}")
    episodes: list[Episode] = []
    began = time.monotonic()
    failed = False
    with World(options.folder / str(os.getpid())).running() as world:
        for setting, fault in plan(options, chance):
            world.use(setting)
            start = len(episodes) * 1000
            numbers = range(start, start + options.batch)
            episode = play(world, fault, numbers, chance, options.hits)
            episodes.append(episode)
            mark = "right" if episode.is_right else "WRONG"
            console.print(
                f"{time.monotonic() - began:6.0f} s  {fault.name:42} {setting!s:32} "
                f"{episode.executions} executions, {episode.faults} faults, "
                f"{episode.seconds:.1f} s: {mark}"
            )
            if not episode.is_right:
                failed = True
                kept = report.keep_history(world, episode, options.history)
                for verdict in episode.verdicts.values():
                    for line in verdict.wrong:
                        console.print(f"    {line}", style="red")
                console.print(f"    its history is kept in {kept}")
    report.show(console, episodes, seed, time.monotonic() - began)
    return 1 if failed or not episodes else 0


def plan(options: argparse.Namespace, chance: random.Random) -> Iterator[tuple[Setting, Fault]]:
    """Settings and faults: each once with --quick, otherwise at random until the time is up."""
    brokers = available_brokers(options.broker)
    routes = ["direct", "pgbouncer"] if find_pgbouncer() else ["direct"]
    if len(routes) == 1:
        print("PgBouncer is not installed, so its half is left out: apt-get install pgbouncer")
    faults = [f for f in ALL if not options.fault or options.fault in f.name]
    if not faults:
        sys.exit(
            f"No fault is called {options.fault!r}. There are: {', '.join(f.name for f in ALL)}"
        )
    if options.quick:
        for broker, pool, route in zip(
            brokers * 2, ("prefork", "prefork", "threads", "threads"), itertools.cycle(routes),
            strict=False,
        ):  # fmt: skip
            yield from (
                (Setting(broker, pool, route), fault)
                for fault in faults
                if broker in fault.brokers
                and pool in fault.pools
                and (pool == "prefork" or fault.name in QUICK_FOR_THREADS)
            )
        return
    deadline = time.monotonic() + options.minutes * 60
    settings = [
        Setting(*parts) for parts in itertools.product(brokers, ("prefork", "threads"), routes)
    ]
    while True:
        chance.shuffle(settings)
        for setting in settings:
            mine = [f for f in faults if setting.broker in f.brokers and setting.pool in f.pools]
            for fault in chance.sample(mine, min(len(mine), 6)):
                if time.monotonic() > deadline:
                    return
                yield setting, fault


QUICK_FOR_THREADS = ("SIGKILL of a worker", "lock's connection terminated")


def available_brokers(wanted: str) -> list[str]:
    import socket

    brokers = ["valkey", "rabbitmq"] if wanted == "both" else [wanted]
    if "rabbitmq" in brokers:
        try:
            socket.create_connection(RABBITMQ, 2).close()
        except OSError:
            if wanted == "rabbitmq":
                sys.exit("No RabbitMQ answers on 127.0.0.1:5672: start one.")
            print("No RabbitMQ answers on 127.0.0.1:5672, so its half is left out.")
            brokers.remove("rabbitmq")
    return brokers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="repeat the plan of another run")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--broker", choices=("rabbitmq", "valkey", "both"), default="both")
    parser.add_argument("--fault", default="", help="only faults whose name contains this")
    parser.add_argument("--quick", action="store_true", help="each fault once")
    parser.add_argument("--batch", type=int, default=30, help="executions of each task an episode")
    parser.add_argument("--hits", type=int, default=3, help="times a fault strikes in an episode")
    parser.add_argument("--folder", type=Path, default=Path(".local/chaos"))
    parser.add_argument("--history", type=Path, default=Path(".local/chaos-history"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
