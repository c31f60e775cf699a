import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _csv import Reader

LONGEST_LINE = 1 << 20
"""Bytes. A file without line ends is not a CSV file, and is not to fill the memory."""


class BadFile(Exception):
    """The file as a whole cannot be imported."""


class BadRow(Exception):
    """One row cannot be imported; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line, counted from 1 with the header, and its cells by column, or why there are none."""

    line: int
    cells: dict[str, str] | BadRow


def read(
    path: Path, columns: Sequence[str], progress: Callable[[int], object] = lambda _bytes: None
) -> Iterator[Row]:
    """The rows of a CSV file, one at a time. `progress` is told how many bytes each took.

    Raises BadFile, at the first row or later, for a file that cannot be opened, is not UTF-8, has
    other columns, or does not end the quotes it opens.
    """
    try:
        with path.open("rb") as file:
            yield from _rows(file, path, columns, progress)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from None


def _rows(
    file: BinaryIO, path: Path, columns: Sequence[str], progress: Callable[[int], object]
) -> Iterator[Row]:
    reader = csv.reader(_lines(file, path, progress), strict=True)
    header = _next(reader, path)
    if header is None:
        raise BadFile(f"{path} is empty: the first line must be {','.join(columns)}")
    if isinstance(header, BadRow):
        raise BadFile(f"{path}, line 1: {header}")
    header = [name.strip() for name in header]
    _check_header(header, path, columns)

    while True:
        line = reader.line_num + 1
        cells = _next(reader, path)
        if cells is None:
            return
        if isinstance(cells, BadRow):
            yield Row(line, cells)
        elif len(cells) == len(header):
            yield Row(line, {k: v.strip() for k, v in zip(header, cells, strict=True)})
        elif cells:  # a blank line is no row
            yield Row(line, BadRow(f"has {len(cells)} cells instead of {len(header)}"))


def _next(reader: "Reader", path: Path) -> list[str] | BadRow | None:
    line = reader.line_num + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        if "unexpected end of data" in str(error) or "field larger than" in str(error):
            raise BadFile(
                f"{path}, line {line}: a quoted cell begins here and does not end."
                " Close the quotes; nothing was imported."
            ) from None
        return BadRow(f"is not CSV: {error}")


def _lines(file: BinaryIO, path: Path, progress: Callable[[int], object]) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE:
            raise BadFile(f"{path}, line {number} is longer than a MiB: this is not a CSV file.")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise BadFile(
                f"{path}, line {number} is not UTF-8 (byte {error.start + 1}):"
                " save the file as UTF-8. Nothing was imported."
            ) from None
        progress(len(line))
        yield text


def _check_header(header: list[str], path: Path, columns: Sequence[str]) -> None:
    wanted = ",".join(columns)
    if len(header) == 1 and len(columns) > 1:
        for name, delimiter in (("semicolons", ";"), ("tabs", "\t"), ("pipes", "|")):
            if delimiter in header[0]:
                raise BadFile(
                    f"{path} is separated by {name}: separate it by commas, beginning with {wanted}"
                )
    missing = [name for name in columns if name not in header]
    unknown = [name for name in header if name not in columns]
    repeated = sorted({name for name in header if header.count(name) > 1})
    complaints = [
        f"{what} {', '.join(map(repr, names))}"
        for what, names in (("lacks", missing), ("has unknown", unknown), ("repeats", repeated))
        if names
    ]
    if complaints:
        raise BadFile(f"{path}, line 1 {' and '.join(complaints)}: it must be {wanted}")
