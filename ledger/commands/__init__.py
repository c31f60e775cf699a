"""The verbs of ``manage.py ledger``: one module each, of which ``Verb`` says the shape."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Protocol

from django.core.management.base import BaseCommand

from . import (
    alarms,
    clear,
    grant_reporting,
    import_cache,
    recover,
    relay,
    release,
    report,
    status,
    sweep,
    tasks,
    verify,
)


class Verb(Protocol):
    """What each module of this package is."""

    help: str

    def add_arguments(self, parser: ArgumentParser) -> None: ...

    def handle(self, command: BaseCommand, database: str, options: dict[str, Any]) -> None:
        """Do it in the database of that alias. ``CommandError`` says what to do instead."""


VERBS: dict[str, Verb] = {
    "sweep": sweep,
    "recover": recover,
    "relay": relay,
    "tasks": tasks,
    "status": status,
    "clear": clear,
    "release": release,
    "import-cache": import_cache,
    "alarms": alarms,
    "verify": verify,
    "report": report,
    "grant-reporting": grant_reporting,
}
