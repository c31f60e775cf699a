"""Finding executions by their key, their Celery task id, or the value of an argument."""

from __future__ import annotations

import json
import re
from contextlib import suppress

from django.db.models import QuerySet

from .. import readable
from ..keys import KEY_PREFIX
from ..models import TaskExecution
from ..protection import parameter_names

# The two partial indexes of keys, of live rows and of history, one after the other.
_BY_KEY = "((key = %s and retired_at is null) or (key = %s and retired_at is not null))"
_BY_TASK_ID = "task_id = %s"
_BY_ARGUMENT = "(task_id = %s or arguments @@ %s::jsonpath)"

_NAMED = re.compile(r"([^\W\d]\w*)\s*=\s*(.*)", re.DOTALL)


def matching(
    executions: QuerySet[TaskExecution], text: str, *, values: bool
) -> QuerySet[TaskExecution]:
    """Those that ``text`` names: a whole key, a task id, or, where ``values`` may be seen, an
    argument, as ``4711`` or ``employee_id=4711``."""
    text = readable.text(text.strip())
    if text.startswith(f"{KEY_PREFIX}:"):
        return executions.extra(where=[_BY_KEY], params=[text, text])  # noqa: S610
    if not values or not (path := _path(text)):
        return executions.extra(where=[_BY_TASK_ID], params=[text])  # noqa: S610
    return executions.extra(where=[_BY_ARGUMENT], params=[text, path])  # noqa: S610


def _path(text: str) -> str:
    """A condition on the arguments, as a jsonpath: one of them is this number, or this text."""
    if named := _NAMED.fullmatch(text):
        names, value = [named[1]], named[2]
    else:
        names, value = parameter_names(), text
    return " || ".join(
        f"$.{json.dumps(name)} == {literal}" for name in names for literal in _literals(value)
    )


def _literals(value: str) -> list[str]:
    """The value as JSON might have it: always as text, and as a number or such if it is one."""
    found = [json.dumps(value)]
    with suppress(ValueError):
        plain = json.loads(value)
        if plain is None or isinstance(plain, (int, float)):  # a bool is an int
            found.append(json.dumps(plain, allow_nan=False))
    return found
