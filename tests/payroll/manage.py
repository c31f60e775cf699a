"""Commands as `manage.py` runs them, and what they say."""

import io
import re
from dataclasses import dataclass
from typing import Any, Protocol

from django.core.management import CommandError, call_command


@dataclass(frozen=True)
class Run:
    """What a command said, and its exit status."""

    out: str
    err: str
    status: int

    @property
    def table(self) -> dict[str, list[str]]:
        """The closing table: the cells of each row by its first one."""
        rows = [
            [cell.strip() for cell in line.split("│")[1:-1]]
            for line in self.out.splitlines()
            if line.startswith("│")
        ]
        return {row[0]: row[1:] for row in rows}

    @property
    def counts(self) -> dict[str, int]:
        return {name: int(cells[0]) for name, cells in self.table.items()}


class Manage(Protocol):
    """`manage("import_worklogs", file, "--strict")`"""

    def __call__(self, command: str, *arguments: Any, **options: Any) -> Run: ...


def manage(command: str, *arguments: Any, **options: Any) -> Run:
    out, err = io.StringIO(), io.StringIO()
    status = 0
    try:
        call_command(command, *map(str, arguments), stdout=out, stderr=err, **options)
    except CommandError as error:
        err.write(str(error))
        status = error.returncode
    return Run(out.getvalue(), re.sub(r"\x1b\[[0-9;]*m", "", err.getvalue()), status)
