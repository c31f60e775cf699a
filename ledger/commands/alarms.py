from __future__ import annotations

import json
from argparse import ArgumentParser
from textwrap import indent
from typing import Any

from django.core.management.base import BaseCommand

from ..alarms import ALARMS, Alarm

help = "print the alert rules for Prometheus"

HEAD = """\
# Alert rules for Prometheus, made by `python manage.py ledger alarms`. The thresholds stand in
# ledger/alarms.py; docs/operations.md has a section for each.
groups:
  - name: ledger
    rules:
"""


def add_arguments(parser: ArgumentParser) -> None: ...


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    command.stdout.write(HEAD + "\n".join(_rule(alarm) for alarm in ALARMS))


def _rule(alarm: Alarm) -> str:
    return f"""\
      - alert: {alarm.name}
        expr: |
{indent(alarm.rule, " " * 10)}
        for: {alarm.lasting}s
        labels:
          severity: {alarm.severity}
        annotations:
          summary: {json.dumps(alarm.summary)}
          runbook_url: {alarm.runbook}
"""
