"""The tasks that ``manage.py check`` and ``manage.py ledger tasks`` look at."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Task, current_app

from ..options import Options
from ..protection import protecting

AnyTask = Task[Any, Any]


def registered() -> list[AnyTask]:
    """All tasks of the project by name, Celery's own excepted, as far as they can be imported."""
    import_tasks()
    return [
        task for name, task in sorted(current_app.tasks.items()) if not name.startswith("celery.")
    ]


def import_tasks() -> Exception | None:
    """Import the modules that a worker imports when it starts. Returns what it would die of: here,
    where a project's every command runs the checks, that must not keep it from running."""
    try:
        with _without_checks():
            current_app.loader.import_default_modules()
    except Exception as error:
        return error
    return None


@contextmanager
def _without_checks() -> Iterator[None]:
    """Celery's Django fix-up runs all system checks when it imports tasks, and so these again."""
    before = os.environ.get("CELERY_SKIP_CHECKS")
    os.environ["CELERY_SKIP_CHECKS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CELERY_SKIP_CHECKS"]
        else:
            os.environ["CELERY_SKIP_CHECKS"] = before


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
