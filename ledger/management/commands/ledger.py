"""``manage.py ledger``: what the tasks do, and asking and deciding by hand. The verbs are modules
of ``ledger.commands``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from ledger.commands import VERBS


class Command(BaseCommand):
    help = "Ask the idempotency ledger, sweep it, or clear a key so that it may run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="database alias")
        verbs = parser.add_subparsers(dest="verb", required=True)
        for name, verb in VERBS.items():
            verb.add_arguments(verbs.add_parser(name, help=verb.help))

    def handle(self, *, verb: str, database: str, **options: Any) -> None:
        if database not in connections.settings:
            raise CommandError(
                f"There is no database {database!r}. settings.DATABASES has: "
                f"{', '.join(connections.settings)}."
            )
        VERBS[verb].handle(self, database, options)
