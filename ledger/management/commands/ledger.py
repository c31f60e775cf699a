"""``manage.py ledger``: what the tasks do, and asking and clearing by hand."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from kombu.utils import json as kombu_json

from ledger import LedgerError, make_idempotency_key, release
from ledger.lookup import clear
from ledger.outbox import relay
from ledger.status import status_of
from ledger.sweep import recover, sweep


class Command(BaseCommand):
    help = "Ask the idempotency ledger, sweep it, or clear a key so that it may run again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="database alias")
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("sweep", help="retire expired executions and purge old history")
        verbs.add_parser("recover", help="record executions whose worker is gone")
        verbs.add_parser("relay", help="publish follow-ups that a crash left behind")
        status = verbs.add_parser("status", help="what the ledger knows of one call")
        self._add_call(status)
        clearing = verbs.add_parser("clear", help="let a completed, failed or held call run again")
        self._add_call(clearing)
        clearing.add_argument("--reason", required=True, help="why; kept for the audit")
        clearing.add_argument("--actor", default="", help="who decided; kept for the audit")
        releasing = verbs.add_parser("release", help="decide about a held execution")
        self._add_call(releasing)
        releasing.add_argument(
            "--as",
            dest="outcome",
            required=True,
            choices=("completed", "failed", "retired"),
            help="it took effect; it did not, run the next attempt; run it as a new execution",
        )
        releasing.add_argument(
            "--result",
            dest="call_result",
            metavar="JSON",
            help="with --as completed: the result, as JSON",
        )
        releasing.add_argument("--reason", required=True, help="why; kept for the audit")
        releasing.add_argument("--actor", default="", help="who decided; kept for the audit")

    def _add_call(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="the task's name, or a whole key ('idempotent:…')")
        # Not dest="args", which Django keeps for a command's own positional arguments.
        parser.add_argument(
            "--args",
            dest="call_args",
            default="[]",
            metavar="JSON",
            help='positional arguments as JSON: "[7, 2026]"',
        )
        parser.add_argument(
            "--kwargs",
            dest="call_kwargs",
            default="{}",
            metavar="JSON",
            help="by name, as JSON: '{\"month\": 11}'",
        )
        parser.add_argument("--date", help="business date of a date-based task: 2026-11-30")

    def handle(self, *, verb: str, database: str, **options: Any) -> None:
        if database not in connections.settings:
            raise CommandError(
                f"There is no database {database!r}. settings.DATABASES has: "
                f"{', '.join(connections.settings)}."
            )
        getattr(self, f"_{verb}")(database, options)

    def _sweep(self, database: str, options: dict[str, Any]) -> None:
        done = sweep(database)
        self.stdout.write(f"Retired {done['retired']}, purged {done['purged']}.")

    def _recover(self, database: str, options: dict[str, Any]) -> None:
        keys = recover(database, actor="manage.py ledger recover")
        for key in keys:
            self.stdout.write(key)
        self.stdout.write(f"{len(keys)} without a worker; they may run again.")

    def _relay(self, database: str, options: dict[str, Any]) -> None:
        self.stdout.write(f"Published {relay(database)}.")

    def _release(self, database: str, options: dict[str, Any]) -> None:
        key = _key(options)
        result = None if options["call_result"] is None else _json(options, "result", object)
        decision = {name: options[name] for name in ("reason", "actor")}
        try:
            release(key, options["outcome"], result=result, using=database, **decision)
        except LedgerError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Released {key} as {options['outcome']}.")

    def _status(self, database: str, options: dict[str, Any]) -> None:
        status = status_of(_key(options), database)
        width = max(map(len, status))
        for name, value in status.items():
            shown = kombu_json.dumps(value) if name == "result" else value
            self.stdout.write(f"{name:<{width}}  {'' if value is None else shown}")

    def _clear(self, database: str, options: dict[str, Any]) -> None:
        key = _key(options)
        try:
            cleared = clear(key, database, reason=options["reason"], actor=options["actor"])
        except LedgerError as error:
            raise CommandError(str(error)) from error
        if not cleared:
            raise CommandError(
                f"Nothing is live under {key}. Check the name and the arguments with "
                "'manage.py ledger status'."
            )
        self.stdout.write(f"Cleared {key}; the next delivery runs again.")


def _key(options: dict[str, Any]) -> str:
    """The key itself, or made of the task's name and arguments as a worker would."""
    if options["name"].startswith("idempotent:"):
        return str(options["name"])
    args, kwargs = _json(options, "args", list), _json(options, "kwargs", dict)
    try:
        date = options["date"]
        return make_idempotency_key(options["name"], args, kwargs, date is not None, date)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error


def _json(options: dict[str, Any], name: str, kind: type) -> Any:
    try:
        value = json.loads(options[f"call_{name}"])
    except ValueError as error:
        raise CommandError(f"--{name} is not JSON: {error}") from error
    if not isinstance(value, kind):
        shape = "a list, such as [7, 2026, 11]" if kind is list else 'an object: {"month": 11}'
        raise CommandError(f"--{name} must be {shape}.")
    return value
