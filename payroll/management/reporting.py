"""What a command shows: progress while it runs, on standard error, and a table when it is done."""

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from django.core.management.base import OutputWrapper
from django.db import connections
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from payroll.bulk import steps_done

SECONDS_BETWEEN_LOOKS = 0.2


def progress_bar(verbosity: int, *, counted: bool = True) -> Progress:
    """A bar on a terminal's standard error, gone when it is done; none with --verbosity 0."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if counted else TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not verbosity or not console.is_terminal,
    )


@contextmanager
def step_bar(verbosity: int, key: str, total: int, description: str) -> Iterator[None]:
    """A bar that shows how many of its steps the execution of this key has done, whoever does them;
    read from the ledger by a thread, as often as the eye can follow."""
    with progress_bar(verbosity) as bar:
        shown = bar.add_task(description, total=total)
        done = Event()

        def follow() -> None:
            try:
                while not done.wait(SECONDS_BETWEEN_LOOKS):
                    bar.update(shown, completed=steps_done(key).count())
            finally:
                connections.close_all()

        follower = Thread(target=follow, daemon=True)
        if not bar.disable:
            follower.start()
        try:
            yield
        finally:
            done.set()
            if follower.ident:
                follower.join()


def write_table(
    out: OutputWrapper, columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = ""
) -> None:
    """A table with numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    table = Table()
    for index, column in enumerate(columns):
        numbers = all(row[index].isdigit() for row in cells)
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    text = io.StringIO()
    Console(file=text, force_terminal=out.isatty(), markup=False, highlight=False).print(table)
    if title:
        out.write(title)
    out.write(text.getvalue())


@contextmanager
def quiet_ledger(verbosity: int) -> Iterator[None]:
    """Leave out what the ledger says of each ordinary run, unless --verbosity is 2 or more."""
    logger = logging.getLogger("ledger")
    level = logger.level
    if verbosity < 2:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
