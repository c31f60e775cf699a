"""What was broken, and which test failed for it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.mutation.laboratory import ROOT, Outcome
from tests.mutation.mutations import Mutation

DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- mutation-table -->", "<!-- end of mutation-table -->"
SECTION = f"# Reliability\n\n## Mutations\n\n{BEGIN}\n{END}\n"


def verdict(outcome: Outcome) -> str:
    if outcome.trouble:
        return "NOTHING SHOWN"
    if not outcome.killed_by:
        return "SURVIVED"
    return f"killed by {outcome.killed_by}\n           ({outcome.reason[:200]})"


def write(outcomes: Mapping[Mutation, Outcome], seconds: float) -> None:
    """Put the table between its marks in the document."""
    text = DOCUMENT.read_text() if DOCUMENT.exists() else SECTION
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n## Mutations\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(outcomes, seconds)}\n{END}{after}")


def table(outcomes: Mapping[Mutation, Outcome], seconds: float) -> str:
    killed = sum(bool(outcome.killed_by) for outcome in outcomes.values())
    lines = [
        f"`make mutation`: {killed} of {len(outcomes)} mutations killed, in "
        f"{seconds / 60:.0f} minutes.",
        "",
        "| broken | in | killed by |",
        "|---|---|---|",
    ]
    for mutation, outcome in outcomes.items():
        test = f"`{outcome.killed_by.rpartition('::')[2]}`" if outcome.killed_by else "**nothing**"
        lines.append(f"| {mutation.name} | `{mutation.file}` | {test} |")
    return "\n".join(lines)
