from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from .. import LedgerError
from ..lookup import clear
from . import one_call

help = "let a completed, failed or held call run again"


def add_arguments(parser: ArgumentParser) -> None:
    one_call.add_arguments(parser)
    one_call.add_decision(parser)


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    key = one_call.key_of(options)
    try:
        cleared = clear(key, database, reason=options["reason"], actor=options["actor"])
    except LedgerError as error:
        raise CommandError(str(error)) from error
    if not cleared:
        raise CommandError(
            f"Nothing is live under {key}. Check the name and the arguments with "
            "'manage.py ledger status'."
        )
    command.stdout.write(f"Cleared {key}; the next delivery runs again.")
