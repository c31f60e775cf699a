from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ..checks.coverage import is_ignored
from ..checks.registered import AnyTask, failure_to_import, place_of, registered
from ..exempt import reason_of
from ..options import Options
from ..protection import protecting

help = "which tasks are under the ledger, how, and why the others are not"

COLUMNS = ("task", "guarantee", "key", "ttl", "period")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("table", "json"), default="table", help="for people, or programs"
    )


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    if (error := failure_to_import()) is not None:
        raise CommandError(f"The tasks cannot be imported: {error!r}.") from error
    rows = [_row(task) for task in registered()]
    if options["format"] == "json":
        command.stdout.write(json.dumps(rows, indent=2))
        return
    covered = [row for row in rows if row["guarantee"]]
    lines = [[name.upper() for name in COLUMNS], *(_line(row) for row in covered)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(COLUMNS))]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        command.stdout.write("  ".join(cells).rstrip())
    others = [row for row in rows if not row["guarantee"]]
    command.stdout.write("\nNot under the ledger:" if others else "")
    for row in others:
        why = row["why_not"] or f"NOBODY DECIDED about {row['place']}"
        command.stdout.write(f"{row['task']}: {why}")
    undecided = sum(row["why_not"] is None for row in others)
    command.stdout.write(
        f"\n{len(covered)} under the ledger, {len(others) - undecided} left out, "
        f"{undecided} undecided."
    )


def _row(task: AnyTask) -> dict[str, Any]:
    """``why_not``: the reason for what is not under the ledger, None where nobody gave one."""
    protection = protecting(task)
    row: dict[str, Any] = {"task": task.name, "place": place_of(task)}
    if protection is not None:
        options = protection.options
        return row | {
            "guarantee": options.guarantee,
            "key": _key(options),
            "ttl_hours": options.ttl and options.ttl.total_seconds() / 3600,
            "period": options.period,
            "why_not": None,
        }
    ignored = 'listed in LEDGER["IGNORE_TASKS"]' if is_ignored(task) else None
    nothing = dict.fromkeys(("guarantee", "key", "ttl_hours", "period"))
    return row | nothing | {"why_not": reason_of(task) or ignored}


def _key(options: Options) -> str:
    if options.key is None:
        return "all arguments"
    if callable(options.key):
        return f"{getattr(options.key, '__name__', 'a callable')}()"
    return ", ".join(options.key)


def _line(row: dict[str, Any]) -> list[str]:
    ttl = "for ever" if row["ttl_hours"] is None else f"{row['ttl_hours']:g} h"
    return [row["task"], row["guarantee"], row["key"], ttl, row["period"] or "-"]
