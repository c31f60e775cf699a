"""While some workers still have the old cache decorator: new ones tell them, and ask them.

It goes below the ledger, whose first attempt asks the cache once, and comes off when the last old
worker is gone and the longest old TTL has passed since:

    @shared_task(bind=True)
    @idempotent_task(ttl_hours=72)
    @known_to_the_cache(old_key, ttl_hours=72)
    def process_payroll(self, employee_id, year, month): ...

The cache learns of a run when it is committed. The old decorator itself does not belong here: it
would write before the commit, and a worker killed between the two would leave work that every
delivery takes for done. A new worker does not believe what another new worker wrote there: that is
in the ledger, or it was cleared on purpose.
"""

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from celery import Task
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from ledger import current_execution

P = ParamSpec("P")
R = TypeVar("R")

OldKey = Callable[[str, Sequence[object], Mapping[str, object], dt.date | None], str]
"""As ``manage.py ledger import-cache --old-key`` takes it."""

NEW = "by the ledger"


def known_to_the_cache(
    old_key: OldKey, ttl_hours: float
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            execution = current_execution()
            own = args[1:] if args and isinstance(args[0], Task) else args
            key = old_key(execution.task_name, own, kwargs, execution.period)
            done: dict[str, Any] | None = cache.get(key)
            if done is not None and NEW not in done:
                found: R = done["result"]
                return found
            result = function(*args, **kwargs)
            now = {"completed_at": timezone.now().isoformat(), "result": result, NEW: True}
            timeout = int(ttl_hours * 3600)
            transaction.on_commit(lambda: cache.set(key, now, timeout), using=execution.database)
            return result

        return wrapper

    return decorate
