"""What came of it, as tables in Markdown."""

from collections.abc import Mapping, Sequence

from .tasks import WAYS, Way
from .trial import Verdict

Verdicts = Mapping[str, Mapping[Way, Verdict]]
"""By the name of the fault, and the way to pay."""


def by_way(verdicts: Verdicts) -> str:
    """A row for each way: in which cases money moved twice, was lost, or waits for a person."""
    rows: list[tuple[str, ...]] = [
        ("The bank's endpoint", "Guarantee", "Booked twice", "Lost", "Held for a person")
    ]
    for way in WAYS:
        cells = [_faults(verdicts, way, verdict) for verdict in ("twice", "lost", "held")]
        rows.append((way.endpoint, f"`{way.guarantee}`", *cells))
    return _markdown(rows)


def by_fault(verdicts: Verdicts) -> str:
    """A row for each fault: what each way made of it."""
    rows: list[tuple[str, ...]] = [
        ("What goes wrong", *(f"{way.endpoint}, `{way.guarantee}`" for way in WAYS))
    ]
    for fault, outcome in verdicts.items():
        rows.append((fault, *(_shown(outcome[way]) for way in WAYS)))
    return _markdown(rows)


def _faults(verdicts: Verdicts, way: Way, verdict: str) -> str:
    faults = [fault for fault, outcome in verdicts.items() if outcome[way] == verdict]
    if not faults:
        return "never"
    if len(faults) == 1:
        return f"only where {faults[0]}"
    return f"in {len(faults)} of {len(verdicts)} cases"


def _shown(verdict: Verdict) -> str:
    return f"**{verdict}**" if verdict in ("twice", "lost") else verdict


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
