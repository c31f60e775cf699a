import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection


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


@pytest.fixture
def manage() -> Callable[..., Run]:
    """Runs a command as `manage.py` would: `manage("import_worklogs", file, "--strict")`."""

    def run(command: str, *arguments: Any, **options: Any) -> Run:
        out, err = io.StringIO(), io.StringIO()
        status = 0
        try:
            call_command(command, *map(str, arguments), stdout=out, stderr=err, **options)
        except CommandError as error:
            err.write(str(error))
            status = error.returncode
        return Run(out.getvalue(), re.sub(r"\x1b\[[0-9;]*m", "", err.getvalue()), status)

    return run


@pytest.fixture
def truncate_payslips(transactional_db: None) -> Callable[[], None]:
    """Loses every payslip, past the triggers that would refuse."""

    def truncate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE payroll_payslip CASCADE")

    return truncate
