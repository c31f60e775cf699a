from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ..sweep import recover

help = "record executions whose worker is gone"


def add_arguments(parser: ArgumentParser) -> None: ...


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    keys = recover(database, actor="manage.py ledger recover")
    for key in keys:
        command.stdout.write(key)
    command.stdout.write(
        f"{len(keys)} without a worker; they may run again, or, at most once, are held."
    )
