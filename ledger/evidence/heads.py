"""The chain's last link in a line, for an auditor to keep where no administrator of the database
can reach: whoever rebuilds the chain cannot rebuild that."""

from __future__ import annotations

from ..exceptions import LedgerError
from .models import Seal


def head(database: str) -> str:
    """``number:sha256``. ``LedgerError`` where nothing is sealed yet."""
    last = Seal.objects.using(database).only("digest").order_by("-id").first()
    if last is None:
        raise LedgerError("Nothing is sealed yet. Sweeps seal: run 'manage.py ledger sweep'.")
    return str(last)


def parse(text: str) -> tuple[int, bytes]:
    """A head's number and digest. ``LedgerError`` where the text is none."""
    number, _, digest = text.strip().partition(":")
    try:
        parsed = int(number), bytes.fromhex(digest)
    except ValueError:
        parsed = 0, b""
    if parsed[0] < 1 or len(parsed[1]) != 32:
        raise LedgerError(
            f"{text!r} is not the head of a chain: it is a number, a colon and 64 hexadecimal "
            "digits, as 'manage.py ledger verify --head' prints it."
        )
    return parsed
