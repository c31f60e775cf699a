"""Text that a spreadsheet may take for a formula, when it reads a CSV file."""

from __future__ import annotations

import re

# At the beginning of a cell, and where one begins for a spreadsheet that separates by other
# characters than the file does, as it does in countries that write a decimal comma.
_BEGINNING = re.compile(r"\A(?=[=+\-@\t\r\n])|(?<=[;,\t\r\n])(?=[=+\-@])")


def disarmed(text: str) -> str:
    """The text, with an apostrophe wherever a formula would begin."""
    return _BEGINNING.sub("'", text)
