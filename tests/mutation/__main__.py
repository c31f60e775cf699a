"""``python -m tests.mutation``. Exit status 0 only if every mutation is killed."""

from __future__ import annotations

import argparse
import sys
import time

from tests.mutation import report
from tests.mutation.laboratory import ROOT, Laboratory, Outcome, Stale, check
from tests.mutation.mutations import MUTATIONS, Mutation


def main() -> int:
    options = arguments()
    chosen = [mutation for mutation in MUTATIONS if options.only in mutation.name]
    if options.list:
        print(*(f"{mutation.name}  ({mutation.file})" for mutation in chosen), sep="\n")
        return 0
    if not chosen:
        print(f"No mutation's name contains {options.only!r}; --list shows them.")
        return 1
    try:
        for mutation in chosen:
            check(mutation, (ROOT / mutation.file).read_text())
    except Stale as stale:
        print(stale)
        return 1
    began = time.monotonic()
    outcomes: dict[Mutation, Outcome] = {}
    with Laboratory.open() as laboratory:
        tests = dict.fromkeys(test for mutation in chosen for test in mutation.tests)
        print(f"{len(tests)} tests without a mutation…", flush=True)
        sound = laboratory.run(list(tests))
        if sound != Outcome():
            print(f"They fail without any mutation:\n{sound.killed_by or sound.trouble}")
            return 1
        for mutation in chosen:
            outcome = outcomes[mutation] = laboratory.try_out(mutation)
            print(
                f"{time.monotonic() - began:6.0f} s  {mutation.name}: {report.verdict(outcome)}",
                outcome.trouble,
                flush=True,
            )
    survivors = [mutation for mutation, outcome in outcomes.items() if not outcome.killed_by]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutations killed.")
    if len(chosen) == len(MUTATIONS):
        report.write(outcomes, time.monotonic() - began)
    return 1 if survivors else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--only", default="", metavar="TEXT", help="part of the name")
    parser.add_argument("--list", action="store_true", help="show their names")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
