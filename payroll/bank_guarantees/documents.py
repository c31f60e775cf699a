"""A document with tables in it that a program writes."""

import re
from pathlib import Path


def put(document: Path, marker: str, table: str) -> None:
    """Put the table between ``<!-- marker -->`` and ``<!-- /marker -->``. ValueError without."""
    text, found = _between(marker).subn(lambda m: f"{m[1]}{table}{m[3]}", document.read_text())
    if found != 1:
        raise ValueError(
            f"{document} has no place for the table: write <!-- {marker} --> and"
            f" <!-- /{marker} -->, each on a line of its own, once."
        )
    document.write_text(text)


def find(document: Path, marker: str) -> str:
    """The table that stands there."""
    [(_, table, _)] = _between(marker).findall(document.read_text())
    return str(table)


def _between(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {marker} -->\n)(.*?)(<!-- /{marker} -->)", re.DOTALL)
