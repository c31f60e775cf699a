"""What was measured, as tables: on the terminal, and between the marks in docs/performance.md."""

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Case, Comparison

from .pages import PLANS, Measured

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"

Rows = list[tuple[str, ...]]


def show(
    rows: int,
    pages: list[Measured],
    views: list[Measured],
    sweeps: dict[str, float],
    claims: list[Case],
    *,
    write: bool,
) -> None:
    tables = {
        "pages": _pages(pages),
        "views": _pages(views),
        "sweeps": [("", "ms"), *((name, f"{ms:.1f}") for name, ms in sweeps.items())],
        "claims": _claims(claims),
    }
    for name, table in tables.items():
        shown = Table(title=f"{name}, {rows:,} executions")
        for number, heading in enumerate(table[0]):
            shown.add_column(heading, justify="right" if number else "left")
        for row in table[1:]:
            shown.add_row(*row)
        Console().print(shown)
    Console().print(f"The plans are in {PLANS}/")
    if write:
        text = PAGE.read_text()
        for name, table in tables.items():
            text = _between(text, name, _markdown(table))
        PAGE.write_text(text)


def _pages(pages: list[Measured]) -> Rows:
    head = ("", "first, ms", "warm, ms", "queries", "slowest query, ms")
    return [head] + [
        (m.name, f"{m.first:.0f}", f"{m.warm:.0f}", str(m.queries), f"{m.slowest:.1f}")
        for m in pages
    ]


def _claims(cases: list[Case]) -> Rows:
    """Each beside its like on the shortest history: medians over rounds of the ratio within one."""
    head = ("", "µs", "beside the empty one")
    likes = [cases[0], cases[1]] * (len(cases) // 2)
    return [head] + [
        (case.name, f"{case.median:.0f}", f"{_ratio(case, like):.2f}")
        for case, like in zip(cases, likes, strict=True)
    ]


def _ratio(case: Case, like: Case) -> float:
    return Comparison("", case, like, 0).ratio


def _markdown(table: Rows) -> str:
    lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], "|---" + "|---:" * (len(table[0]) - 1) + "|", *lines[1:]])


def _between(text: str, name: str, table: str) -> str:
    """Raises ``ValueError`` where the page has no such marks."""
    new, found = re.subn(
        rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL
    )
    if found != 1:
        raise ValueError(f"{PAGE} has no '<!-- {name} -->' … '<!-- /{name} -->'")
    return new
