"""A set of a table's ids, a bit each: ten million purged rows take a megabyte."""

from __future__ import annotations

from collections.abc import Iterable


class Ids:
    def __init__(self) -> None:
        self._bits = bytearray()

    def update(self, ids: Iterable[int]) -> None:
        for id in ids:
            byte = id >> 3
            if byte >= len(self._bits):
                self._bits.extend(bytes(byte + 1 - len(self._bits)))
            self._bits[byte] |= 1 << (id & 7)

    def __contains__(self, id: int) -> bool:
        byte = id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (id & 7))
