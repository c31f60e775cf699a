from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ..outbox import relay

help = "publish follow-ups that a crash left behind"


def add_arguments(parser: ArgumentParser) -> None: ...


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    command.stdout.write(f"Published {relay(database)}.")
