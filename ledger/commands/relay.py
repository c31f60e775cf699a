from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from .. import LedgerError
from ..outbox import discard, relay

help = "publish follow-ups that a crash left behind, or give one up"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--discard", type=int, metavar="ID", help="give this follow-up up: it is never published"
    )
    parser.add_argument("--reason", default="", help="with --discard: why; kept for the audit")
    parser.add_argument("--actor", default="", help="with --discard: who decided; kept as well")


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    id, reason, actor = (options[name] for name in ("discard", "reason", "actor"))
    if id is None:
        if reason or actor:
            raise CommandError("--reason and --actor belong to --discard.")
        command.stdout.write(f"Published {relay(database)}.")
        return
    try:
        discard(id, reason=reason, actor=actor, database=database)
    except LedgerError as error:
        raise CommandError(str(error)) from error
    command.stdout.write(f"Gave up follow-up {id}.")
