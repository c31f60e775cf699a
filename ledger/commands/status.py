from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from kombu.utils import json

from ..status import status_of
from . import one_call

help = "what the ledger knows of one call"

add_arguments = one_call.add_arguments


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    status = status_of(one_call.key_of(options), database)
    width = max(map(len, status))
    for name, value in status.items():
        shown = json.dumps(value) if name == "result" else value
        command.stdout.write(f"{name:<{width}}  {'' if value is None else shown}")
