"""A project's cache decorator as the analysis describes it, and what it had executed with it."""

import datetime as dt
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.cache import caches
from django.utils import timezone


def old_key(
    task_name: str, args: Sequence[object], kwargs: Mapping[str, object], date: dt.date | None
) -> str:
    """``idempotent:{task_name}:{arg_hash}[:{date}]``, with the task's short name."""
    text = json.dumps([task_name, args, kwargs], sort_keys=True, default=str)
    name = task_name.rpartition(".")[2]
    key = f"idempotent:{name}:{hashlib.sha256(text.encode()).hexdigest()}"
    return key if date is None else f"{key}:{date}"


def idempotent_task(
    ttl_hours: float = 24, date_based: bool = False, skip_on_duplicate: bool = True
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As it was: look up, run, remember."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            key = old_key(self.name, args, kwargs, timezone.localdate() if date_based else None)
            found = caches["old"].get(key)
            if found is not None:
                if not skip_on_duplicate:
                    raise RuntimeError(f"{key} was executed")
                return json.loads(found)["result"]
            result = function(self, *args, **kwargs)
            done = {"completed_at": timezone.now().isoformat(), "result": result}
            caches["old"].set(key, json.dumps(done), timeout=int(ttl_hours * 3600))
            return result

        return wrapper

    return decorate
