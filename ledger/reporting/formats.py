"""Rows as a table for a terminal, as CSV or as JSON. All are written as they come."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import chain, islice
from typing import Any, Protocol

from django.utils import timezone

from ..formulas import disarmed

MEASURED = 500
"""Rows that decide how wide a table's columns are; what is longer behind them sticks out."""

Rows = Iterable[Sequence[Any]]


class Out(Protocol):
    def write(self, text: str, /) -> Any: ...


def table(names: Sequence[str], rows: Rows, out: Out) -> None:
    """Aligned, numbers to the right. Nothing in it can move a terminal's cursor."""
    rows = iter(rows)
    measured = [[_printable(value) for value in row] for row in islice(rows, MEASURED)]
    if not measured:
        out.write("Nothing.\n")
        return
    first = [list(names), *measured]
    widths = [max(len(row[column]) for row in first) for column in range(len(names))]
    rest = ([_printable(value) for value in row] for row in rows)
    right = [all(_is_number(row[column]) for row in measured) for column in range(len(names))]
    for row in chain([names], [["-" * width for width in widths]], measured, rest):
        cells = (
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(row, widths, right, strict=True)
        )
        out.write("  ".join(cells).rstrip() + "\n")


def comma_separated(names: Sequence[str], rows: Rows, out: Out) -> None:
    """For spreadsheets: text that one would take for a formula begins with an apostrophe."""
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_harmless(value) for value in row])


def json_lines(names: Sequence[str], rows: Rows, out: Out) -> None:
    """One array of objects, one object a line."""
    out.write("[")
    before = "\n"
    for row in rows:
        values = dict(zip(names, map(_plain, row), strict=True))
        out.write(before + json.dumps(values, ensure_ascii=False))
        before = ",\n"
    out.write("\n]\n")


FORMATS: dict[str, Callable[[Sequence[str], Rows, Out], None]] = {
    "table": table,
    "csv": comma_separated,
    "json": json_lines,
}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime):
        return timezone.localtime(value).isoformat(sep=" ", timespec="seconds")
    return str(value)


def _printable(value: Any) -> str:
    return "".join(character if character.isprintable() else "·" for character in _text(value))


def _is_number(cell: str) -> bool:
    return cell == "" or cell.lstrip("-").replace(".", "", 1).isdigit()


def _harmless(value: Any) -> str:
    text = _text(value)
    return disarmed(text) if isinstance(value, str) else text


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime):
        return timezone.localtime(value).isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
