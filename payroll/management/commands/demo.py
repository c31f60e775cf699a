"""A real month of payroll through Celery, paid once, while messages double and workers die."""

import random
import signal
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payroll.demo.demo import demonstrate
from payroll.demo.errors import DemoError
from payroll.demo.screen import Screen


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seed", type=int, help="of the messages' order; the same seed repeats it"
        )
        parser.add_argument(
            "--employees", type=int, metavar="N", help="pay only N of them, drawn by the seed"
        )

    def handle(self, *, seed: int | None, employees: int | None, **options: Any) -> None:
        for ending in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.default_int_handler)  # as on Ctrl-C: clean up, then end
        if seed is None:
            seed = random.randrange(1_000_000)  # noqa: S311
        screen = Screen()
        try:
            checks = demonstrate(screen, seed, employees)
        except DemoError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. Its workers have ended and its queue is empty.", returncode=130
            ) from None
        failed = [check for check in checks if not check.holds]
        if failed:
            raise CommandError(
                f"{len(failed)} of {len(checks)} checks do not hold: they are marked ✗ above."
            )
        screen.say("Every check holds.", style="bold green")
