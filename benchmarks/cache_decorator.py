"""The decorator that teams usually write: completion remembered under a hashed key in the cache.

It is here to be measured against. It does what such decorators do: look up, run, remember.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

from django.core.cache import cache
from django.utils import timezone

logger = logging.getLogger("benchmarks")


def remembered_in_cache(ttl_hours: float) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{function.__module__}.{function.__qualname__}"

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            arguments = json.dumps({"args": args, "kwargs": kwargs}, sort_keys=True, default=str)
            key = f"idempotent:{name}:{hashlib.sha256(arguments.encode()).hexdigest()}"
            found = cache.get(key)
            if found is not None:
                logger.info("%s: already executed at %s, skipped", key, found["completed_at"])
                return found["result"]
            result = function(*args, **kwargs)
            entry = {"completed_at": timezone.now().isoformat(), "result": result}
            cache.set(key, entry, timeout=int(ttl_hours * 3600))
            logger.info("%s: completed", key)
            return result

        return wrapper

    return decorate
