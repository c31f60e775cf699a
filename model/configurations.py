"""What is searched, within which bounds, and what each search must find.

A switch set to a number is a bound: how often it may happen in one history. What all of them mean
stands at the head of ``ledger.pml``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

GUARANTEES = {"exactly_once": 1, "at_least_once": 2, "at_most_once": 3}


@dataclass(frozen=True)
class Search:
    guarantee: str
    name: str
    switches: Mapping[str, int | str | None] = field(default_factory=dict)
    """Names and values for SPIN's preprocessor; None defines without a value."""
    reaches: frozenset[str] = frozenset()
    """Points that the search must come by."""
    breaks: str | None = None
    """The promise that must turn out broken; None: every promise holds."""
    deep: bool = False
    """Takes minutes and gigabytes."""

    @property
    def is_about_progress(self) -> bool:
        return "LIVENESS" in self.switches

    @property
    def slug(self) -> str:
        words = "".join(c if c.isalnum() else " " for c in f"{self.guarantee} {self.name}")
        return "-".join(words.lower().split())

    @property
    def definitions(self) -> list[str]:
        """Arguments for SPIN."""
        switches: dict[str, int | str | None] = {"GUARANTEE": GUARANTEES[self.guarantee]}
        if self.guarantee == "at_most_once":
            switches["MAX_CRASHES"] = 0
        if self.breaks and not self.is_about_progress:
            switches["ONLY"] = self.breaks
        if self.reaches:
            switches["COVER"] = None
        switches |= self.switches
        return [f"-D{k}" if v is None else f"-D{k}={v}" for k, v in switches.items()]


_ORDINARY = "duplicate_answered body_runs_again failed_and_claimed_again"
_TAKEN_OVER = "taken_over taken_over_though_alive take_over_too_late row_held"
_LOST_LOCK = "claim_lost recorded_on_a_new_connection commit_arrived_without_its_answer"


def kept() -> Iterator[Search]:
    """The protocol as it is: every promise must hold, in every history within the bounds."""
    for guarantee in GUARANTEES:
        again = "row_held" if guarantee == "at_most_once" else _TAKEN_OVER
        lost = "" if guarantee == "exactly_once" else _LOST_LOCK
        overlap = "" if guarantee == "at_most_once" else "body_overlaps_one_that_lost_its_lock"

        def search(name: str, reaches: str, g: str = guarantee, **bounds: int | None) -> Search:
            return Search(g, name, dict(bounds), frozenset(reaches.split()))

        yield search(
            "crashes, failures, lost connections",
            f"{_ORDINARY} {again} {lost} {overlap}",
            MESSAGES=2, DUPLICATES=1, CRASHES=1, CUTS=1, FAILURES=1,
        )  # fmt: skip
        yield search(
            "two crashes",
            f"{_ORDINARY} {again}",
            MESSAGES=2, DUPLICATES=1, CRASHES=2, FAILURES=1,
        )  # fmt: skip
        yield search(
            "delivered again while it runs",
            f"{_ORDINARY} {again} {lost}",
            MESSAGES=1, REDELIVERIES=1, CRASHES=1, CUTS=1, FAILURES=1,
        )  # fmt: skip
        yield search(
            "three deliveries at once",
            f"duplicate_answered {again}",
            WORKERS=3, MESSAGES=3, CRASHES=1,
        )  # fmt: skip
        yield search(
            "three deliveries, a lost connection",
            f"duplicate_answered {again} {lost} {overlap}",
            WORKERS=3, MESSAGES=3, CUTS=1,
        )  # fmt: skip
        yield search(
            "expiry and sweep",
            f"{_ORDINARY} {again} expired_and_replaced sweep_was_first",
            MESSAGES=3, CRASHES=1, FAILURES=1, EXPIRIES=1,
        )  # fmt: skip
        yield search(
            "a person's decisions",
            f"{_ORDINARY} {again} released_by_a_person",
            MESSAGES=2, CRASHES=1, FAILURES=1, DECISIONS=1,
        )  # fmt: skip
        yield search(
            "expiry and a person's decisions",
            f"duplicate_answered expired_and_replaced {again}",
            MESSAGES=3, EXPIRIES=1, DECISIONS=1,
        )  # fmt: skip
        yield search(
            "a hard time limit, recovery",
            f"{again} recovered",
            MESSAGES=2, CRASHES=1, LIMITS=1, FAILURES=1, RECOVER=None,
        )  # fmt: skip
        yield search(
            "a lost connection, recovery",
            f"{again} recovered",
            MESSAGES=2, CUTS=1, FAILURES=1, RECOVER=None,
        )  # fmt: skip
        yield search(
            "held only when allowed",
            "row_held recovered",
            PATIENT=None, MESSAGES=2, CRASHES=1, CUTS=1, FAILURES=1, RECOVER=None,
        )  # fmt: skip
        yield search(
            "the row is changed by hand",
            f"claim_lost {again}",
            MESSAGES=2, HANDS=1, CRASHES=1, FAILURES=1,
        )  # fmt: skip
        yield search(
            "the server loses what it had not flushed",
            f"duplicate_answered {again}",
            MESSAGES=2, OUTAGES=1, CRASHES=1, FAILURES=1,
        )  # fmt: skip
        yield search(
            "progress",
            "duplicate_answered row_held",
            LIVENESS=None, COLLISIONS=1, MESSAGES=2, CRASHES=1, CUTS=1,
        )  # fmt: skip
        yield search(
            "progress after failures",
            "duplicate_answered failed_and_claimed_again",
            LIVENESS=None, COLLISIONS=1, MESSAGES=2, CRASHES=1, FAILURES=1,
        )  # fmt: skip
        yield search(
            "progress after a hard time limit",
            "recovered",
            LIVENESS=None, COLLISIONS=1, MESSAGES=1, CRASHES=1, LIMITS=1, RECOVER=None,
        )  # fmt: skip
    yield Search(
        "exactly_once",
        "ledger_lock reads first: the fence holds",
        {"MERGED_LOOK": None, "ONLY": "effects_commit_once", "DUPLICATES": 1, "CRASHES": 1},
        frozenset(["claim_lost"]),
    )


def deeper() -> Iterator[Search]:
    """As ``kept``, with more happening in one history."""
    for guarantee in GUARANTEES:
        bounds = {"WORKERS": 3, "MESSAGES": 3, "CRASHES": 1, "CUTS": 1, "FAILURES": 1}
        yield Search(guarantee, "three at once, one of each fault", bounds, deep=True)
        bounds = {"DUPLICATES": 1, "REDELIVERIES": 1, "CRASHES": 2, "CUTS": 1, "FAILURES": 1}
        yield Search(guarantee, "two at once, every fault", bounds, deep=True)


def broken() -> Iterator[Search]:
    """The protocol with one thing broken on purpose: the search must find the promise that goes
    with it."""

    def without(guarantee: str, what: str, breaks: str, **switches: int | None) -> Search:
        return Search(guarantee, what, dict(switches), breaks=breaks)

    merged = "lock and read in one step"
    yield without(
        "exactly_once", merged, "effects_commit_once", MERGED=None, DUPLICATES=1, FAILURES=1
    )
    yield without("at_least_once", merged, "run_again_only_with_reason", MERGED=None)
    yield without(
        "at_most_once", merged, "run_again_only_with_reason", MERGED=None, DUPLICATES=1, FAILURES=1
    )

    yield without("exactly_once", f"{merged}: an insert", "one_live_row", MERGED=None)
    yield without(
        "exactly_once", f"{merged}: a move", "legal_moves", MERGED=None, DUPLICATES=1, FAILURES=1
    )
    yield without("exactly_once", "ledger_lock reads first", "own_attempt_only", MERGED_LOOK=None)

    unfenced = "completes without its fence"
    yield without("exactly_once", unfenced, "effects_commit_once", UNFENCED=None, HANDS=1)
    yield without("at_least_once", unfenced, "no_stale_completion", UNFENCED=None, HANDS=1)
    yield without("at_most_once", unfenced, "no_stale_completion", UNFENCED=None, HANDS=1)
    yield without(
        "exactly_once", "no fence, and ledger_lock reads first", "effects_commit_once",
        UNFENCED=None, MERGED_LOOK=None, DUPLICATES=1, CRASHES=1,
    )  # fmt: skip

    for guarantee in GUARANTEES:
        yield without(
            guarantee, "acknowledges before completing", "nothing_lost",
            ACK_EARLY=None, MESSAGES=1, CRASHES=1,
        )  # fmt: skip

    yield without(
        "exactly_once", "a lost connection acknowledges", "nothing_lost",
        NO_COPY=None, MESSAGES=1, CUTS=1,
    )  # fmt: skip
    yield without(
        "exactly_once", "a duplicate in progress acknowledges", "nothing_lost",
        NO_COPY=None, MESSAGES=1, REDELIVERIES=1, CRASHES=1,
    )  # fmt: skip
    yield without(
        "at_most_once", "takes over from the dead", "run_again_only_with_reason",
        MAX_CRASHES=1, CRASHES=1,
    )  # fmt: skip
    yield without(
        "exactly_once", "a lost claim does not raise", "effects_commit_once", SILENT=None, HANDS=1
    )
    yield without(
        "exactly_once",
        "a lost claim does not raise: its row",
        "effects_with_completion",
        SILENT=None,
        HANDS=1,
    )
    yield without(
        "exactly_once", "locks let go before the commit is visible", "effects_commit_once",
        LOCKS_FIRST=None,
    )  # fmt: skip
    yield without(
        "at_least_once", "a connection shared through a fork", "one_body_at_a_time",
        ONE_CONNECTION=None,
    )  # fmt: skip
    yield without(
        "at_most_once", "a connection shared through a fork", "held_only_when_allowed",
        ONE_CONNECTION=None, PATIENT=None,
    )  # fmt: skip
    for guarantee in GUARANTEES:
        yield without(
            guarantee, "no second look", "held_only_when_allowed",
            NO_SECOND_LOOK=None, DUPLICATES=1,
        )  # fmt: skip
    yield without(
        "exactly_once", "a failure tries the lock once", "held_only_when_allowed",
        FAIL_TRIES_ONCE=None, PATIENT=None, DUPLICATES=1, FAILURES=1, CRASHES=1,
    )  # fmt: skip
    yield without(
        "at_most_once", "a claim known by its attempt alone", "run_again_only_with_reason",
        CLAIM_WITHOUT_ID=None, CRASHES=1, DECISIONS=1, DUPLICATES=1,
    )  # fmt: skip
    yield without(
        "at_most_once", "a claim that is not durable", "run_again_only_with_reason",
        ASYNC_CLAIM=None, OUTAGES=1,
    )  # fmt: skip
    yield without(
        "exactly_once", "a hard time limit and no recovery", "settles",
        LIVENESS=None, TIME_GOES_ON=None, COLLISIONS=1, MESSAGES=1, CRASHES=1, LIMITS=1,
    )  # fmt: skip
