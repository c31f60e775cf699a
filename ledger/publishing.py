"""``dedupe_on_publish=True``: a message whose duplicate is certain is not published at all.

Only an optimisation: a message saved, and nothing else. So it asks only where the answer cannot be
taken back, publishes whenever it is in doubt, and leaves alone what is more than one message's
business: parts of a canvas, callbacks, retries and whatever else has a task id of its own or a time
to wait for.

Celery has no signal that may stop a message, and a decorator below ``shared_task`` never sees the
task; so ``Task.apply_async`` is wrapped, once, when the first function asks for it.
"""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Task
from celery.result import AsyncResult, EagerResult
from celery.states import SUCCESS
from django.db import connections

from . import keys, periods, results, store
from .protection import find

logger = logging.getLogger("ledger")

MORE_THAN_A_MESSAGE = (
    "task_id", "link", "link_error", "chain", "chord", "group_id", "countdown", "eta",
)  # fmt: skip


_MARK = "__ledger_asks_first__"


def install() -> None:
    """Wrap ``Task.apply_async``, unless that is done."""
    if not hasattr(Task.apply_async, _MARK):
        Task.apply_async = _asking_first(Task.apply_async)  # type: ignore[method-assign]


def _asking_first(publish: Callable[..., AsyncResult[Any]]) -> Callable[..., AsyncResult[Any]]:
    @functools.wraps(publish)
    def apply_async(
        self: Task[Any, Any],
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        given = {**options, "task_id": task_id, "link": link, "link_error": link_error}
        if not self.app.conf.task_always_eager and not any(map(given.get, MORE_THAN_A_MESSAGE)):
            known = _known(self, args or (), kwargs or {}, options.get("headers"))
            if known is not None:
                return known
        return publish(self, args, kwargs, task_id, producer, link, link_error, shadow, **options)

    setattr(apply_async, _MARK, True)
    return apply_async


def _known(
    task: Task[Any, Any],
    args: Sequence[object],
    kwargs: Mapping[str, object],
    headers: dict[str, Any] | None,
) -> AsyncResult[Any] | None:
    """The result of the execution that this message would be a duplicate of, or None. Nothing that
    goes wrong here stops the message."""
    try:
        protected, bound = find(str(task.name)) or (None, False)
        if protected is None or not protected.options.dedupe_on_publish:
            return None
        connection = connections[protected.database(args, kwargs)]
        if not connection.get_autocommit():  # a transaction sees what may yet roll back
            return None
        identity = protected.identity(args, kwargs, bound=bound)
        kind = protected.options.period
        period = (periods.pinned(headers, kind) or periods.current(kind)).label if kind else None
        key = keys.compose(str(task.name), identity.key_hash, period)
        found = store.published(connection, key, identity.args_hash)
        if found is None:
            return None
        task_id, result = found
        extra = {
            "ledger_key": key,
            "ledger_task": task.name,
            "ledger_task_id": task_id,
            "ledger_outcome": "not_published",
        }
        logger.info("%s: already executed or running, not published", key, extra=extra)
        if result is None:
            return task.AsyncResult(task_id)
        return EagerResult(task_id or str(uuid.uuid4()), results.load(result), SUCCESS)
    except Exception:
        logger.warning("%s: could not ask before publishing", task.name, exc_info=True)
        return None
