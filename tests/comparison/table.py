"""What came of it, in Markdown."""

from pathlib import Path

from tests.comparison.guards import GUARDS
from tests.comparison.trials import Verdicts
from tests.workers import ROOT

DOCUMENT = ROOT / "docs" / "comparison.md"
BEGIN, END = "<!-- comparison -->\n", "<!-- /comparison -->\n"


def markdown(verdicts: Verdicts) -> str:
    """A row for each trial, a column for each guard; what is not once, in bold."""
    rows = [["", *GUARDS], ["---"] * (len(GUARDS) + 1)]
    for trial, outcome in verdicts.items():
        cells = [outcome[guard] for guard in GUARDS]
        rows.append([trial, *(cell if cell == "once" else f"**{cell}**" for cell in cells)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def written(document: Path = DOCUMENT) -> str:
    """The table that stands there."""
    return document.read_text().partition(BEGIN)[2].partition(END)[0]


def write(table: str, document: Path = DOCUMENT) -> None:
    before, _, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{document} has no place for the table: write {BEGIN!r} and {END!r}.")
    document.write_text(f"{before}{BEGIN}{table}{END}{after}")
