"""From punches to stretches of time that were worked once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from .rounding import round_punch

IssueKind = Literal["missing_check_out", "overlap", "outside_employment"]


@dataclass(frozen=True, slots=True)
class Punch:
    """A check-in and its check-out, None while missing. `ref` is what the caller knows it by."""

    ref: int
    check_in: datetime
    check_out: datetime | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Work without a break, in minutes since the epoch: real ones, whatever the clocks did."""

    ref: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Issue:
    """Something about a punch that was not paid and that a person should look at."""

    kind: IssueKind
    ref: int
    at: int
    """Minutes since the epoch."""
    minutes: int


def worked_time(
    punches: Iterable[Punch], zone: ZoneInfo, minute_step: int
) -> tuple[list[Stretch], list[Issue]]:
    """Rounded, in order, without overlaps; what was left out is reported.

    Time covered by two punches is paid once. A punch without check-out pays nothing until somebody
    says when the work ended.
    """
    stretches: list[Stretch] = []
    issues: list[Issue] = []
    closed: list[tuple[int, int, int]] = []
    for punch in punches:
        start = round_punch(punch.check_in, zone, minute_step)
        if punch.check_out is None:
            issues.append(Issue("missing_check_out", punch.ref, start, 0))
        else:
            closed.append((start, round_punch(punch.check_out, zone, minute_step), punch.ref))

    paid_until = None
    for start, end, ref in sorted(closed):
        if paid_until is not None and start < paid_until:
            twice = min(end, paid_until) - start
            if twice:
                issues.append(Issue("overlap", ref, start, twice))
            start = paid_until
        if start < end:
            stretches.append(Stretch(ref, start, end))
            paid_until = end
    return stretches, issues
