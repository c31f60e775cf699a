from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from ..conf import ignored_tasks
from ..exempt import reason_of
from ..protection import protecting
from .registered import AnyTask, failure_to_import, place_of, registered


def check_coverage(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """Somebody has decided about every task."""
    return list(_undecided())


def _undecided() -> Iterator[CheckMessage]:
    if (error := failure_to_import()) is not None:
        yield Error(
            f"The tasks cannot be imported, and so not checked: {error!r}.",
            hint="Mend the module, or take it out of CELERY_IMPORTS or CELERY_INCLUDE: a worker "
            "would not start.",
            id="ledger.E008",
        )
    for task in registered():
        covered, exempt = protecting(task) is not None, reason_of(task) is not None
        if covered and exempt:
            yield Error(
                f"{task.name} is under the ledger, and marked non_idempotent as well.",
                hint="Leave one of the decorators.",
                obj=place_of(task),
                id="ledger.E004",
            )
        elif not covered and not exempt and not is_ignored(task):
            yield Warning(
                f"{task.name} is neither under the ledger nor marked: delivered twice, it runs "
                "twice.",
                hint="Write @idempotent_task() directly above its function; or, where that is "
                'harmless, @non_idempotent("why"). A task of somebody else\'s goes into '
                'LEDGER["IGNORE_TASKS"].',
                obj=place_of(task),
                id="ledger.W001",
            )


def is_ignored(task: AnyTask) -> bool:
    """Whether ``LEDGER["IGNORE_TASKS"]`` names it."""
    return any(fnmatchcase(task.name, pattern) for pattern in ignored_tasks())
