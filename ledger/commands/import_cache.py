from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.cache import caches
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string
from kombu.utils import json

from ..cache_import.caches import KEPT_NOWHERE, keys_of
from ..cache_import.calls import OldCall, OldKey, candidates, without_arguments
from ..cache_import.record import Report, record

help = "record what a cache decorator has completed, so that it does not run again"

MOST_SHOWN = 20

FIELDS = {"task": str, "args": list, "kwargs": dict, "date": str}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--old-key",
        required=True,
        metavar="PATH",
        help="dotted path of a function (task_name, args, kwargs, date) that returns the old "
        "decorator's key of a call; date is None unless the key is dated",
    )
    parser.add_argument("--cache", default="default", help="alias of the cache")
    parser.add_argument(
        "--calls",
        type=Path,
        metavar="FILE",
        help='calls that may have completed, one a line: {"task": "app.tasks.pay", "args": [7], '
        '"kwargs": {"month": 11}, "date": "2026-11-24"}; calls without arguments are tried anyway',
    )


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    alias, old_key = options["cache"], _old_key(options["old_key"])
    cache = _cache(alias, options["calls"])
    try:
        wanted = candidates(without_arguments(), old_key)
    except (TypeError, ValueError) as error:
        raise CommandError(f"--old-key {options['old_key']}: {error}") from error
    if options["calls"]:
        for place, call in _calls(options["calls"]):
            try:
                wanted |= candidates([call], old_key)
            except (TypeError, ValueError) as error:
                raise CommandError(f"{place}: {error} Nothing was imported.") from error
    source = f"imported from cache {alias!r}"
    actor = "manage.py ledger import-cache"
    report = record(cache, wanted, old_key, database, source=source, actor=actor)
    _tell(command, report)


def _old_key(path: str) -> OldKey:
    try:
        old_key = import_string(path)
    except ImportError as error:
        raise CommandError(f"--old-key {path}: {error}") from error
    if not callable(old_key):
        raise CommandError(f"--old-key {path} is a {type(old_key).__name__}, not a function.")
    return old_key  # type: ignore[no-any-return]


def _cache(alias: str, calls: Path | None) -> Any:
    if alias not in caches.settings:
        raise CommandError(
            f"There is no cache {alias!r}. settings.CACHES has: {', '.join(caches.settings)}."
        )
    cache = caches[alias]
    kind = type(cache).__name__
    if isinstance(cache, KEPT_NOWHERE):
        raise CommandError(
            f"The cache {alias!r} is a {kind}: no other process can see what it holds. Name the "
            "cache that the old decorator uses with --cache."
        )
    if calls is None and keys_of(cache) is None:
        raise CommandError(
            f"The cache {alias!r} is a {kind} and cannot list its keys. Say with --calls which "
            "calls may have completed."
        )
    return cache


def _calls(path: Path) -> Iterator[tuple[str, OldCall]]:
    """Each line's call, and where it stands."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--calls {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        place = f"{path}, line {number}"
        if line.strip():
            yield place, _call(line, place)


def _call(line: str, place: str) -> OldCall:
    try:
        fields = json.loads(line)  # kombu's, in which a call may hold dates and Decimals
    except ValueError as error:
        raise CommandError(f"{place} is not JSON: {error}. Nothing was imported.") from error
    wrong = not isinstance(fields, dict) or "task" not in fields or set(fields) - set(FIELDS)
    if wrong or any(not isinstance(value, FIELDS[name]) for name, value in fields.items()):
        raise CommandError(
            f'{place} is no call. Write {{"task": "app.tasks.pay"}}, with "args": [7], "kwargs": '
            '{"month": 11} and "date": "2026-11-24" where it has them. Nothing was imported.'
        )
    try:
        date = dt.date.fromisoformat(fields["date"]) if "date" in fields else None
    except ValueError as error:
        raise CommandError(f"{place}: {error}. Nothing was imported.") from error
    return OldCall(fields["task"], fields.get("args", []), fields.get("kwargs", {}), date)


def _tell(command: BaseCommand, report: Report) -> None:
    say = command.stdout.write
    for key, problem in report.without_result.items():
        say(f"{key}: its duplicates will be answered with None. {problem}")
    for key, outcome in report.outcomes.items():
        if outcome == "failed":
            say(f"{key}: failed here, and would run again. If the cache is right, clear it first.")
    live = report.count("completed", "failed", "held", "running")
    say(f"Imported {report.count('imported')}; {live} were in the ledger and left as they are.")
    if report.elsewhere:
        say(f"Others belong to --database {', '.join(sorted(report.elsewhere))}.")
    if report.foreign:
        say(f"{report.foreign} live keys of the cache are of tasks that are not under the ledger.")
    if report.unaccounted:
        some = "".join(f"\n  {key}" for key in report.unaccounted[:MOST_SHOWN])
        raise CommandError(
            f"{len(report.unaccounted)} live keys of the cache are of none of these calls; what"
            " they stand for would run again. Give the calls with --calls, or let the tasks"
            f" ask the cache as well for a while (docs/migrating.md). The first of them:{some}"
        )
