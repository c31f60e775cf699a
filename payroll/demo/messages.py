"""Who is told to be paid, how often, and in what order. A seed makes the same messages again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

FIRST_KILL, SECOND_KILL = 0.2, 0.55
"""Which share of the messages comes before the one that a worker is killed over."""


@dataclass(frozen=True, slots=True)
class Message:
    task_id: str
    number: str
    """The employee's."""


@dataclass(frozen=True)
class Messages:
    """Every message, in the order of publishing; and over whom the workers are killed.

    ``second_victim`` is first mentioned at ``split``, so that a trap laid when everything before
    it was published is laid in time.
    """

    all: tuple[Message, ...]
    first_victim: str
    second_victim: str
    split: int


def for_employees(numbers: Sequence[str], seed: int) -> Messages:
    """Two messages for each employee, for every third one three.

    Half of the duplicates are the same message published again, as by a publisher that lost an
    answer; the others are messages of their own, as by a button pressed twice.
    """
    chance = random.Random(seed)  # noqa: S311
    messages = []
    for number in numbers:
        original = _message(number, chance)
        messages.append(original)
        for _ in range(2 if chance.randrange(3) == 0 else 1):
            again = chance.randrange(2) == 0
            messages.append(original if again else _message(number, chance))
    chance.shuffle(messages)

    first_mentions: dict[str, int] = {}
    for place, message in enumerate(messages):
        first_mentions.setdefault(message.number, place)
    first, second = (
        min(first_mentions, key=lambda number: abs(first_mentions[number] - share * len(messages)))
        for share in (FIRST_KILL, SECOND_KILL)
    )
    if first_mentions[first] >= first_mentions[second]:
        first, *_, second = first_mentions
    return Messages(tuple(messages), first, second, first_mentions[second])


def _message(number: str, chance: random.Random) -> Message:
    return Message(str(UUID(int=chance.getrandbits(128), version=4)), number)
