from argparse import ArgumentParser
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError

from payroll.imports import BadFile, BadRow, Counts, import_file
from payroll.imports.run import Import

from .reporting import progress_bar, write_table


class ImportCommand(BaseCommand):
    """Import one kind of CSV file. Exit status 1: nothing was imported. 2: some rows were not."""

    importer: ClassVar[type[Import]]
    what: ClassVar[str]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv")
        parser.add_argument(
            "--strict",
            action="store_true",
            help="stop at the first row that is wrong and import nothing;"
            " otherwise such rows are reported and the others imported",
        )

    def handle(self, *, file: Path, strict: bool, verbosity: int, **options: Any) -> None:
        def report(line: int, reason: BadRow) -> None:
            self.stderr.write(f"{file}, line {line}: {reason}")

        with progress_bar(verbosity, counted=False) as bar:
            task = bar.add_task(f"Importing {file.name}", total=_size(file))
            try:
                counts = import_file(
                    file,
                    self.importer(),
                    strict=strict,
                    rejected=report,
                    progress=lambda read: bar.advance(task, read),
                )
            except BadFile as error:
                raise CommandError(str(error)) from None
        self._show(counts)
        if counts.rejected:
            raise CommandError(
                f"{counts.rejected} rows were rejected, the others are imported."
                " Put them right and import the file again: what is there is recognised.",
                returncode=2,
            )

    def _show(self, counts: Counts) -> None:
        write_table(
            self.stdout,
            ("", "added", "changed", "unchanged", "rejected"),
            [(self.what, counts.added, counts.changed, counts.unchanged, counts.rejected)],
        )


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None
