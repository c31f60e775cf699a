from __future__ import annotations

from argparse import ArgumentParser
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ..evidence import heads
from ..evidence.verify import Verification
from ..exceptions import LedgerError

help = "prove that no sealed row was altered, removed or inserted; name those that were"
SHOWN = 20


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--head",
        action="store_true",
        help="print the chain's last link, to be kept elsewhere, and do nothing else",
    )
    parser.add_argument(
        "--since-head", metavar="HEAD", help="a head that was kept: the chain must contain it"
    )


def handle(command: BaseCommand, database: str, options: dict[str, Any]) -> None:
    try:
        if options["head"]:
            command.stdout.write(heads.head(database))
            return
        kept = options["since_head"]
        verification = Verification(database, None if kept is None else heads.parse(kept))
    except LedgerError as error:
        raise CommandError(str(error)) from error
    broken = iter(verification)
    found = list(islice(broken, SHOWN))
    more = sum(1 for _ in broken)
    if found:
        listed = "".join(f"\n  {one}" for one in found)
        rest = f"\n  and {more} more" if more else ""
        raise CommandError(
            f"The ledger is not as it was sealed. The first of {len(found) + more}:{listed}{rest}"
        )
    command.stdout.write(
        f"{verification.seals} seals over {verification.rows} rows, {verification.unsealed} left "
        "open: nothing was altered, removed or inserted."
    )
    if verification.purged:
        command.stdout.write(
            f"{verification.purged} executions were purged, none earlier than "
            f"{verification.purged_after.days} days after it was sealed."
        )
    command.stdout.write(f"Head: {verification.head or 'none yet'}")
