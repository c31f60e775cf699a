"""Text that a spreadsheet may take for a formula, when it reads a CSV file."""

from __future__ import annotations

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")


def disarmed(text: str) -> str:
    """The text, behind an apostrophe where it would be one."""
    return f"'{text}" if text.startswith(_BEGINNINGS) else text
