"""The tasks that ``manage.py check`` and ``manage.py ledger tasks`` look at."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from celery import Task, current_app

from ..exceptions import LedgerError
from ..importing import import_tasks
from ..options import Options
from ..protection import protecting

AnyTask = Task[Any, Any]


def registered() -> list[AnyTask]:
    """All tasks of the project by name, Celery's own excepted, as far as they can be imported."""
    failure_to_import()
    return [
        task for name, task in sorted(current_app.tasks.items()) if not name.startswith("celery.")
    ]


def failure_to_import() -> BaseException | None:
    """What a worker would die of as it starts: here, where a project's every command runs the
    checks, that must not keep it from running."""
    try:
        import_tasks()
    except LedgerError as error:
        return error.__cause__
    return None


def protected() -> list[tuple[AnyTask, Options]]:
    """Those under the ledger, with their options."""
    return [
        (task, protection.options)
        for task in registered()
        if (protection := protecting(task)) is not None
    ]


def place_of(task: AnyTask) -> str:
    """Where a task's body stands: ``payroll/tasks.py:21``."""
    body = inspect.unwrap(task.run)
    code = getattr(body, "__code__", None)
    if code is None:
        return type(task).__module__
    path = Path(code.co_filename)
    here = Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{code.co_firstlineno}"
