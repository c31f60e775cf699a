"""Cutting work at midnight and at the edges of the night, by the clock on the employee's wall."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from .policy import Policy
from .worked_time import Stretch


@dataclass(frozen=True, slots=True)
class Segment:
    """Minutes of one day that are all by night or all by day."""

    ref: int
    day: date
    start: int
    minutes: int
    night: bool


def minute_of(day: date, clock: time, zone: ZoneInfo, fold: int = 0) -> int:
    """When the clock in `zone` shows that time of that day, in minutes since the epoch."""
    return int(datetime.combine(day, clock.replace(fold=fold), zone).timestamp()) // 60


def segments(stretches: Iterable[Stretch], zone: ZoneInfo, policy: Policy) -> Iterator[Segment]:
    """Each stretch cut into segments, in order; their minutes add up to the stretch.

    Minutes are elapsed ones. A shift over the end of daylight saving time has an hour more than its
    clock readings say, and one over its beginning an hour less, as the U.S. Department of Labor has
    it (FLSA Hours Worked Advisor, "Daylight Savings Time").
    """
    for stretch in stretches:
        cuts = _cuts(stretch, zone, policy)
        for start, end in pairwise(cuts):
            local = datetime.fromtimestamp(start * 60, zone)
            night = policy.is_night(local.time())
            yield Segment(stretch.ref, local.date(), start, end - start, night)


def _cuts(stretch: Stretch, zone: ZoneInfo, policy: Policy) -> list[int]:
    first = datetime.fromtimestamp(stretch.start * 60, zone)
    last = datetime.fromtimestamp(stretch.end * 60, zone)
    clocks = [time(0), *(c for c in (policy.night_start, policy.night_end) if c is not None)]
    changes = first.utcoffset() != last.utcoffset()
    cuts = {stretch.start, stretch.end}
    day = first.date()
    while day <= last.date():
        for clock in clocks:
            cuts.add(minute_of(day, clock, zone))
            if changes:
                cuts.add(minute_of(day, clock, zone, fold=1))
        day += timedelta(days=1)
    if changes:
        cuts.add(_clock_change(stretch, zone))
    return sorted(cut for cut in cuts if stretch.start <= cut <= stretch.end)


def _clock_change(stretch: Stretch, zone: ZoneInfo) -> int:
    """The first minute with the new offset. A shift is too short to see two changes."""
    before, after = stretch.start, stretch.end
    offset = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(minute: int, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(minute * 60, UTC).astimezone(zone).utcoffset()
