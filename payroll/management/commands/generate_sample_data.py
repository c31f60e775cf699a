from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payroll.sample_data.generate import SEED, generate


class Command(BaseCommand):
    help = "Make up a company and two months of its work, as CSV files to import."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seed",
            type=int,
            default=SEED,
            help="the same seed makes the same files (%(default)s)",
        )
        parser.add_argument(
            "--output",
            type=Path,
            default=Path(__file__).parents[2] / "sample_data",
            metavar="DIRECTORY",
            help="where the files go; by default in place of those that come with the project",
        )

    def handle(self, *, seed: int, output: Path, **options: Any) -> None:
        try:
            output.mkdir(parents=True, exist_ok=True)
            paths = generate(seed, output)
        except OSError as error:
            raise CommandError(f"{output} cannot be written: {error.strerror or error}.") from None
        for path in paths:
            self.stdout.write(str(path))
