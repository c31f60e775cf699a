from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ..exceptions import LedgerError
from ..reporting import grants

help = "let a role of the database read the reporting views, and nothing else of the ledger"


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("role", help="such as ledger_reader")
    parser.add_argument("--create", action="store_true", help="create it where there is none")
    parser.add_argument(
        "--with-details",
        action="store_true",
        help=f"arguments, results and errors too: {grants.DETAILS}",
    )


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    role, details = options["role"], options["with_details"]
    try:
        grants.grant(database, role, details=details, create=options["create"])
    except LedgerError as error:
        raise CommandError(str(error)) from error
    views = [*grants.VIEWS, grants.DETAILS] if details else grants.VIEWS
    command.stdout.write(f"{role} may read {', '.join(views)}, and nothing else of the ledger.")
