"""Half goes up, for minutes and for money alike.

A wage is a promise to a person: half a cent goes to whoever worked for it. The labour authorities
round the same way: 29 CFR § 778.322 makes $8.565 into $8.57, where rounding half to even would make
it $8.56; and 29 CFR § 785.48(b) lets clock times be rounded only so that, over time, everybody is
paid for all the time they worked, which rules out always rounding down.
"""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo


def round_money(amount: Decimal, step: Decimal) -> Decimal:
    """The multiple of `step` nearest to `amount`; halfway goes away from zero."""
    return (amount / step).quantize(Decimal(1), rounding=ROUND_HALF_UP) * step


def round_punch(punch: datetime, zone: ZoneInfo, step: int) -> int:
    """The punch rounded to `step` minutes of the wall clock, as whole minutes since the epoch.

    It is the reading of the clock in `zone` that is rounded, since that is the clock people punch
    and zones are not all whole hours apart. The instant moves with the reading, so this also holds
    in the hour that a clock change repeats.
    """
    clock = punch.astimezone(zone)
    past = (clock.minute * 60 + clock.second) % (step * 60)
    move = step * 60 - past if past * 2 >= step * 60 else -past
    return (int(punch.timestamp()) + move) // 60
