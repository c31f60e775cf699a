"""Messages that have failed for good: recorded when it happens, and sent again at most once each.

Recorded are those of tasks under the ledger, which may be sent again without doing anything twice,
and of tasks that a worker does not know. The others (housekeeping, mostly) look at the state of
things, and come with the beat schedule. What the ledger holds has not failed: it waits there for a
person, and sent again it would only be refused.
"""

import datetime as dt
import logging
from contextlib import suppress
from typing import Any

from celery import Signature, current_app, signals
from celery import signature as restore
from celery.app.task import Context
from celery.exceptions import NotRegistered, TimeLimitExceeded
from django.db import DatabaseError
from django.utils import timezone
from kombu.utils import json

from core.models import DeadLetter
from core.retrying import is_transient
from ledger import DuplicateExecution, ExecutionHeld, readable
from ledger.models import State, TaskExecution
from ledger.periods import PERIOD_HEADER
from ledger.protection import protecting

logger = logging.getLogger(__name__)

HEADER = "dead_letter"
"""Header of a message that was sent again: the id of its letter."""

NOT_CARRIED_OVER = (
    "task_id", "root_id", "parent_id", "group_id", "group_index", "chord", "expires", "reply_to",
    "replaced_task_nesting",
)  # fmt: skip
"""Options of a message that belong to its first life: whoever waited for it was told it failed."""

MOST_FAILURES = 5
FIRST_WAIT = dt.timedelta(minutes=5)


@signals.task_failure.connect
def record(
    sender: Any,
    task_id: str,
    exception: BaseException,
    args: Any,
    kwargs: Any,
    einfo: Any = None,
    **_: Any,
) -> None:
    """Receiver: keep the message of a task that has failed, or log it where that is impossible."""
    if protecting(sender) is None or isinstance(exception, DuplicateExecution):
        return
    if isinstance(exception, TimeLimitExceeded) and not sender.acks_on_timeout:
        return  # it is delivered again
    if isinstance(exception, ExecutionHeld) or _is_held(task_id):
        return
    request = sender.request
    if request.id != task_id:  # a hard time limit, which the main process reports without it
        request = Context(args=args, kwargs=kwargs, headers={})
    elif request.called_directly or request.is_eager:
        return
    again = sender.signature_from_request(request, retries=0)
    for name in NOT_CARRIED_OVER:
        again.options.pop(name, None)
    story = readable.shortened(einfo.traceback if einfo else "", readable.MOST_TRACEBACK)
    _keep(task_id, again, exception, story)


@signals.task_unknown.connect
def record_unknown(message: Any, exc: Exception, name: str, id: str, **_: Any) -> None:
    """Receiver: keep a message of a task that this worker does not know, as while a new release is
    rolled out. Celery drops it."""
    args, kwargs, embedded = message.payload
    options = {
        "headers": {n: message.headers[n] for n in (PERIOD_HEADER, HEADER) if n in message.headers},
        "chain": embedded.get("chain"),
        "link": embedded.get("callbacks"),
        "link_error": embedded.get("errbacks"),
    }
    _keep(id, current_app.signature(name, args=args, kwargs=kwargs, **options), NotRegistered(name))


def _is_held(task_id: str) -> bool:
    """Whether it was this message's failure for which its execution is held."""
    held = TaskExecution.objects.filter(task_id=task_id, state=State.HELD, retired_at=None)
    with suppress(DatabaseError):
        return held.exists()
    return False


def _keep(task_id: str, again: Signature[Any], error: BaseException, traceback: str = "") -> None:
    message = json.dumps(again)
    try:
        sent_again = (again.options.get("headers") or {}).get(HEADER, 0)
        before = DeadLetter.objects.filter(pk=sent_again).first()
        letter = DeadLetter(
            task_name=str(again.task),
            task_id=task_id,
            message=message,
            error=readable.error(error),
            traceback=traceback,
            is_transient=is_transient(error),
            failures=before.failures + 1 if before else 1,
        )
        # The message of a worker that died before it acknowledged fails, and is recorded, again.
        DeadLetter.objects.bulk_create([letter], ignore_conflicts=True)
    except DatabaseError:
        logger.critical(
            "%s[%s] failed, and could not be recorded: %s", again.task, task_id, message
        )


def requeued(letter: DeadLetter) -> Signature[Any]:
    """What to publish: the message as it was, business date and all, with no retries used up."""
    message: dict[str, Any] = json.loads(str(letter.message))
    again: Any = restore(message, app=current_app)
    headers: dict[str, Any] = again.options.get("headers") or {}
    sent: Signature[Any] = again.set(headers={**headers, HEADER: letter.pk})
    return sent


def due(now: dt.datetime | None = None) -> list[DeadLetter]:
    """Letters that another try may deliver: after five minutes for the first time, then ten, up to
    the fifth. All others wait for a person."""
    now = now or timezone.now()
    transient = DeadLetter.objects.filter(
        state=DeadLetter.State.OPEN, is_transient=True, failures__lt=MOST_FAILURES
    )
    return [
        letter
        for letter in transient.order_by("failed_at")
        if letter.failed_at + FIRST_WAIT * 2 ** (letter.failures - 1) <= now
    ]
