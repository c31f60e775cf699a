"""The objects of the business that an execution wrote, and the executions that wrote an object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db.models import Model

from . import readable
from .exceptions import UnusableArgument

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .execution import Execution
    from .models import TaskExecution


def entry(execution: Execution, written: object) -> tuple[str, str, str]:
    """Model, primary key and label. ``UnusableArgument`` where it is no saved object of a model."""
    if not isinstance(written, Model) or written.pk is None:
        raise UnusableArgument(
            f"{execution.key}: wrote() takes saved objects of models, not "
            f"{'an unsaved' if isinstance(written, Model) else 'a'} {type(written).__name__}."
        )
    return (*_name(written), readable.text(written, 200))


@contextmanager
def apart(execution: Execution) -> Iterator[list[tuple[str, str, str]]]:
    """Keep what a step writes apart: it is remembered with the step, and with nothing else."""
    outer, execution._wrote = execution._wrote, []
    try:
        yield execution._wrote
    finally:
        execution._wrote = outer


def executions_of(written: Model) -> QuerySet[TaskExecution]:
    """The executions that said they wrote this object, oldest first."""
    from .models import TaskExecution

    model, object_id = _name(written)
    found = TaskExecution.objects.filter(wrote__model=model, wrote__object_id=object_id)
    return found.order_by("id")


def _name(written: Model) -> tuple[str, str]:
    return written._meta.label_lower[:200], readable.text(written.pk, 255)
