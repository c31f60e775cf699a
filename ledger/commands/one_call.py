"""How a verb is told of which call: the task's name and arguments, or the key itself."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from .. import make_idempotency_key


def add_arguments(parser: ArgumentParser) -> None:
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
    parser.add_argument(
        "--date", help="period of a date-based task: 2026-11-30, 2026-11-30T13, 2026-W49 or 2026-11"
    )


def add_decision(parser: ArgumentParser) -> None:
    """What an auditor reads of somebody's decision about the call."""
    parser.add_argument("--reason", required=True, help="why; kept for the audit")
    parser.add_argument("--actor", default="", help="who decided; kept for the audit")


def key_of(options: dict[str, Any]) -> str:
    """The key itself, or made of the task's name and arguments as a worker would."""
    if options["name"].startswith("idempotent:"):
        return str(options["name"])
    args, kwargs = from_json(options, "args", list), from_json(options, "kwargs", dict)
    try:
        date = options["date"]
        return make_idempotency_key(options["name"], args, kwargs, date is not None, date)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error


def from_json(options: dict[str, Any], name: str, kind: type) -> Any:
    """The option's value, a ``list``, a ``dict``, or, for ``object``, any."""
    try:
        value = json.loads(options[f"call_{name}"])
    except ValueError as error:
        raise CommandError(f"--{name} is not JSON: {error}") from error
    if not isinstance(value, kind):
        shape = "a list, such as [7, 2026, 11]" if kind is list else 'an object: {"month": 11}'
        raise CommandError(f"--{name} must be {shape}.")
    return value
