from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning

from ..exceptions import DuplicateExecution
from .registered import AnyTask, place_of, protected


def check_refusals(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """A strict task's refusal of a duplicate is final; trying again changes nothing."""
    return [
        Warning(
            f"{task.name} is strict, and its autoretry_for retries the refusal of a duplicate.",
            hint="Name narrower exceptions in autoretry_for (DuplicateExecution is a "
            "RuntimeError), or add dont_autoretry_for=(DuplicateExecution,).",
            obj=place_of(task),
            id="ledger.W003",
        )
        for task, options in protected()
        if not options.skip_on_duplicate and _retries_refusals(task)
    ]


def _retries_refusals(task: AnyTask) -> bool:
    retried, final = (
        tuple(getattr(task, option, ())) for option in ("autoretry_for", "dont_autoretry_for")
    )
    return issubclass(DuplicateExecution, retried) and not issubclass(DuplicateExecution, final)
