"""The bank's book: a file of JSON lines, one a booking, that only ever grows.

A booking is on the disk before it is confirmed. The index in memory is read from the file at
the start, so a bank that was killed knows all that it answered.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from .transfer import Transfer

LINE_START = b'{"number": '


class BookError(Exception):
    """The book cannot be opened or written; says why and what to do."""


class KeyReused(Exception):
    """The idempotency key belongs to another transfer."""


@dataclass(frozen=True)
class Booking:
    """A line of the book. ``number`` counts from 1, ``booked_at`` is the bank's clock in UTC."""

    number: int
    booked_at: str
    idempotency_key: str | None
    transfer: Transfer

    def as_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "booked_at": self.booked_at,
            "idempotency_key": self.idempotency_key,
            **self.transfer.as_json(),
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Booking":
        number, booked_at, key = (
            line.pop(name) for name in ("number", "booked_at", "idempotency_key")
        )
        return cls(number, booked_at, key, Transfer.from_json(line))


class Book:
    """One book, on one file, held by one process. Its methods may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the book, or begin one.

        Raises:
            BookError: another bank holds it, or a line of it cannot be read.
        """
        self.path = path
        self._bookings: list[Booking] = []
        self._by_key: dict[str, Booking] = {}
        self._writing, self._syncing = Lock(), Lock()
        self._failure = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._end = self._synced = self._read()
            os.fsync(self._file)
            sync_folder(path.parent)
        except BlockingIOError:
            raise BookError(
                f"Another bank holds {path}: end that one, or give this one a book of its own."
            ) from None
        except OSError as error:
            raise BookError(f"The book {path} cannot be opened: {error.strerror}.") from error

    def _read(self) -> int:
        *lines, torn = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                booking = Booking.from_json(json.loads(line))
                if booking.number != number:
                    raise ValueError(f"its number is {booking.number}")
            except (ValueError, LookupError, TypeError) as error:
                raise self._unreadable(number, str(error)) from error
            self._index(booking)
        # The bank died while it wrote the last line, and had told nobody of that booking.
        if not torn.startswith(LINE_START[: len(torn)]):
            raise self._unreadable(len(lines) + 1, "it has no end")
        end = sum(len(line) + 1 for line in lines)
        os.truncate(self._file, end)
        return end

    def _unreadable(self, line: int, problem: str) -> BookError:
        return BookError(
            f"{self.path}, line {line} is no booking ({problem}). A book is only ever appended to:"
            " put back what was changed, or begin another book."
        )

    def book(self, transfer: Transfer, key: str | None = None) -> tuple[Booking, bool]:
        """Book a transfer; with a key, unless it was booked under that key before.

        Returns:
            The booking, on the disk, and whether it was made before.

        Raises:
            KeyReused: the key belongs to another transfer; nothing was booked.
            BookError: the book could not be written; whether it was booked shows at the next start.
        """
        with self._writing:  # looking and booking are one step: nobody comes between them
            known = self._by_key.get(key) if key is not None else None
            if known and known.transfer != transfer:
                raise KeyReused(
                    f"The idempotency key {key} was used for another transfer, {known.transfer}:"
                    " send that one again, or this one with a key of its own."
                )
            booking = known or self._append(transfer, key)
            end = self._end
        self._sync(end)  # for a booking made before as well: it may just have been written
        return booking, known is not None

    def bookings(self, reference: str | None = None) -> list[Booking]:
        """All bookings in their order, or those with this reference."""
        return [b for b in self._bookings[:] if reference in {None, b.transfer.reference}]

    def _append(self, transfer: Transfer, key: str | None) -> Booking:
        now = datetime.now(UTC).isoformat()
        booking = Booking(len(self._bookings) + 1, now, key, transfer)
        line = json.dumps(booking.as_json()).encode() + b"\n"
        self._refuse_after_failure()
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("the line was not written to its end")
        except OSError as error:
            self._fail(error)
        self._end += len(line)
        self._index(booking)
        return booking

    def _sync(self, end: int) -> None:
        """Make the book durable up to ``end``; whoever waits meanwhile shares the next sync."""
        with self._syncing:
            self._refuse_after_failure()
            if self._synced < end:
                reached = self._end
                try:
                    os.fsync(self._file)
                except OSError as error:
                    self._fail(error)
                self._synced = reached

    def _fail(self, error: OSError) -> None:
        self._failure = f"The book could not be written ({error}). Make room and restart the bank."
        raise BookError(self._failure) from error

    def _refuse_after_failure(self) -> None:
        # What is on the disk is known again once it has been read: at the next start.
        if self._failure:
            raise BookError(self._failure)

    def _index(self, booking: Booking) -> None:
        self._bookings.append(booking)
        if booking.idempotency_key is not None:
            self._by_key[booking.idempotency_key] = booking


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: those of files that were just created."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
