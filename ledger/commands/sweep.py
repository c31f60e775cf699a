from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ..sweep import sweep

help = "retire expired executions and purge old history"


def add_arguments(parser: ArgumentParser) -> None: ...


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    done = sweep(database)
    command.stdout.write(f"Retired {done['retired']}, purged {done['purged']}.")
