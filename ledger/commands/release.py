from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from .. import LedgerError, release
from . import one_call

help = "decide about a held execution"


def add_arguments(parser: ArgumentParser) -> None:
    one_call.add_arguments(parser)
    parser.add_argument(
        "--as",
        dest="outcome",
        required=True,
        choices=("completed", "failed", "retired"),
        help="it took effect; it did not, run the next attempt; run it as a new execution",
    )
    parser.add_argument(
        "--result",
        dest="call_result",
        metavar="JSON",
        help="with --as completed: the result, as JSON",
    )
    one_call.add_decision(parser)


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    key = one_call.key_of(options)
    text = options["call_result"]
    result = None if text is None else one_call.from_json(options, "result", object)
    decision = {name: options[name] for name in ("reason", "actor")}
    try:
        release(key, options["outcome"], result=result, using=database, **decision)
    except LedgerError as error:
        raise CommandError(str(error)) from error
    command.stdout.write(f"Released {key} as {options['outcome']}.")
