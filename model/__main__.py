"""``python -m model``: check the protocol, and check that the check finds what is broken.

Exit status 1 where a promise does not hold, a search is not exhaustive, a point is not reached, or
a protocol broken on purpose is not found out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import checker
from .checker import Found
from .configurations import Search, broken, deeper, kept

ROW = "{:<14} {:<42} {:>10} {:>6} {:>7} {:>6}  {}"


def main() -> int:
    options = _options()
    missing = [tool for tool in ("spin", "gcc") if not shutil.which(tool)]
    if missing:
        print(f"{' and '.join(missing)} not found: apt-get install spin gcc", file=sys.stderr)
        return 1
    searches = deeper() if options.deep else (*kept(), *broken())
    chosen = [s for s in searches if options.only in s.slug]
    if not chosen:
        print(f"No search has {options.only!r} in its name.", file=sys.stderr)
        return 1
    shutil.rmtree(options.trails, ignore_errors=True)
    began = time.monotonic()
    print(ROW.format("guarantee", "search", "states", "depth", "seconds", "MB", "found"))
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(_printed(pool.map(lambda s: checker.run(s, options.trails / s.slug), chosen)))
    surprises = [f for f in found if not f.as_expected]
    print(
        f"\n{len(found)} searches, {sum(f.states for f in found):,} states, "
        f"{time.monotonic() - began:.0f} s; {len(surprises)} surprises."
    )
    if any(f.replay for f in found):
        print(
            f"Counter-examples: {options.trails}/*/story.txt; step by step: replay.txt beside it."
        )
    return 1 if surprises else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    parser.add_argument(
        "--only",
        default="",
        metavar="TEXT",
        help="searches with TEXT in their name, as in at-most-once",
    )
    parser.add_argument(
        "--deep", action="store_true", help="instead, six searches that take minutes and gigabytes"
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--trails",
        type=Path,
        default=Path(".local/model"),
        help="where outputs and counter-examples are kept (default: %(default)s)",
    )
    return parser.parse_args()


def _printed(results: Iterable[Found]) -> Iterator[Found]:
    heading = None
    for found in results:
        if (part := _part(found.search)) != heading:
            heading = part
            print(f"\n{heading}")
        print(
            ROW.format(
                found.search.guarantee,
                found.search.name,
                f"{found.states:,}",
                found.depth,
                f"{found.seconds:.1f}",
                f"{found.megabytes:.0f}",
                _verdict(found),
            ),
            flush=True,
        )
        yield found


def _part(search: Search) -> str:
    if search.breaks:
        return "Broken on purpose: the promise named must turn out broken"
    return "As it is: every promise must hold"


def _verdict(found: Found) -> str:
    if found.trouble:
        return f"SURPRISE: {found.trouble}"
    if found.broken != found.search.breaks:
        expected = found.search.breaks or "all hold"
        return f"SURPRISE: {found.broken or 'all hold'}, expected {expected}"
    if found.missed:
        return f"SURPRISE: never came by {', '.join(sorted(found.missed))}"
    return found.broken or "all hold"


if __name__ == "__main__":
    sys.exit(main())
