"""What the demo shows: bars on a terminal, lines where there is none, and one table in the end."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class Bars:
    """How far a run is: employees paid, and messages that came to an end."""

    def show(self, paid: int, ended: int) -> None:
        raise NotImplementedError


class Screen:
    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self.interactive = self.console.is_terminal and not os.environ.get("CI")

    def say(self, text: str = "", style: str = "") -> None:
        self.console.print(text, style=style)

    @contextmanager
    def bars(self, employees: int, messages: int) -> Iterator[Bars]:
        if not self.interactive:
            yield Lines(self, employees, messages)
            return
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(
            TextColumn("  {task.description:<15}"), *columns, console=self.console
        ) as progress:
            yield Moving(progress, employees, messages)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str) -> None:
        table = Table(*columns, caption=note, caption_justify="left", min_width=72)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*map(str, row))
        self.console.print(table, soft_wrap=False)


class Moving(Bars):
    def __init__(self, progress: Progress, employees: int, messages: int) -> None:
        self.progress = progress
        self.paid = progress.add_task("employees paid", total=employees)
        self.ended = progress.add_task("messages done", total=messages)

    def show(self, paid: int, ended: int) -> None:
        self.progress.update(self.paid, completed=paid)
        self.progress.update(self.ended, completed=ended)


class Lines(Bars):
    """A line for each tenth of the messages."""

    def __init__(self, screen: Screen, employees: int, messages: int) -> None:
        self.screen = screen
        self.employees, self.messages = employees, messages
        self.tenths = -1

    def show(self, paid: int, ended: int) -> None:
        tenths = 10 * ended // self.messages
        if tenths > self.tenths:
            self.tenths = tenths
            self.screen.say(
                f"  {paid} of {self.employees} employees paid,"
                f" {ended} of {self.messages} messages done"
            )
