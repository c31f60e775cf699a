"""How a bank misbehaves: faults, and the rules by which they strike.

A fault is written as in ``delay_before=0.5, drop_after``, of

    delay_before=SECONDS  drop_before  error_before     before booking: wait, close the connection
                                                        without an answer, answer 500
    delay_after=SECONDS   drop_after   error_after      the same once it is booked
    reply_twice                                         send the bytes of the answer twice
    book_twice                                          process the request twice, as behind a
                                                        proxy that repeats it, and send both answers

A rule strikes with a probability, and at most ``count`` times. A request is struck by the first
rule that applies to it; its own header has precedence and uses no rule up. With the same seed the
same sequence of requests meets the same faults.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

Fault = Mapping[str, float]
"""The names of what goes wrong with a request; delays have their seconds, the others 0."""

DELAYS = ("delay_before", "delay_after")
OTHERS = (
    *("drop_before", "error_before", "drop_after", "error_after"),
    *("reply_twice", "book_twice"),
)


class InvalidFault(ValueError):
    """Says what is wrong with a fault or a rule, and what is possible."""


def parse_fault(text: str) -> Fault:
    fault: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name in DELAYS:
            fault[name] = number(f"the seconds of {name}", value, most=3600)
        elif part in OTHERS:
            fault[name] = 0
        else:
            raise InvalidFault(
                f"{part!r} is no fault: give {', '.join(f'{delay}=SECONDS' for delay in DELAYS)},"
                f" {', '.join(OTHERS)}, or several of them separated by commas."
            )
    return fault


@dataclass
class Rule:
    fault: str
    probability: float = 1
    count: int | None = None
    """How often it may still strike; None is without end."""
    struck: int = 0

    @classmethod
    def from_json(cls, given: object) -> "Rule":
        known = {"fault", "probability", "count"}
        if not isinstance(given, dict) or not isinstance(given.get("fault"), str):
            raise InvalidFault(
                f'{given!r} is no rule: give {{"fault": "drop_after", "probability": 0.1,'
                ' "count": 3}, the last two only if wanted.'
            )
        if unknown := given.keys() - known:
            raise InvalidFault(f"A rule has {', '.join(sorted(known))}, not {', '.join(unknown)}.")
        parse_fault(given["fault"])
        count = given.get("count")
        if count is not None and (type(count) is not int or count < 0):
            raise InvalidFault(f"count is a whole number from 0, not {count!r}.")
        probability = number("the probability", given.get("probability", 1), most=1)
        return cls(given["fault"], probability, count)


class Faults:
    """The rules in force. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.replace({"rules": []})

    def replace(self, given: object) -> None:
        """Put other rules, from JSON, in the place of those in force.

        Raises:
            InvalidFault: nothing was replaced.
        """
        if not isinstance(given, dict) or given.keys() - {"seed", "rules"}:
            raise InvalidFault('Faults are {"seed": 7, "rules": [...]}, the seed only if wanted.')
        seed, rules = given.get("seed"), given.get("rules")
        if seed is not None and type(seed) is not int:
            raise InvalidFault(f"The seed is a whole number, not {seed!r}.")
        if not isinstance(rules, list):
            raise InvalidFault(f"The rules are a list, not {rules!r}.")
        parsed = [Rule.from_json(rule) for rule in rules]
        with self._lock:
            self._seed, self._rules = seed, parsed
            self._random = random.Random(seed)  # noqa: S311 - faults are to be repeated, not secret

    def draw(self) -> Fault:
        """What goes wrong with the next request; empty if nothing does."""
        with self._lock:
            for rule in self._rules:
                if rule.count != 0 and self._random.random() < rule.probability:
                    rule.struck += 1
                    if rule.count is not None:
                        rule.count -= 1
                    return parse_fault(rule.fault)
        return {}

    def as_json(self) -> dict[str, Any]:
        with self._lock:
            return {"seed": self._seed, "rules": [asdict(rule) for rule in self._rules]}


def number(what: str, given: object, most: float) -> float:
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= most:
        raise InvalidFault(f"{what} must be a number from 0 to {most}, not {given!r}.")
    return value
