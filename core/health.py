"""How the installation is: its database, its broker, and what the ledger is waiting for."""

import datetime as dt
import time
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Min

from core.models import DeadLetter
from ledger.models import OutboxMessage, State, TaskExecution

LATE = dt.timedelta(minutes=1)
"""The relay publishes a follow-up that a crash left within half of that."""

GRACE = dt.timedelta(minutes=2)
"""Beyond the hard time limit. The recovery, every minute, records a dead worker's execution."""


def look() -> dict[str, Any]:
    """The state of each part, and the ``problems`` in words that stay the same while they last."""
    database = _database()
    reachable = database["reachable"]
    state = {
        "database": database,
        "broker": _broker(),
        "ledger": _ledger() if reachable else None,
        "dead_letters": _dead_letters() if reachable else None,
    }
    return {"problems": _problems(state), **state}


def _database() -> dict[str, Any]:
    """Whether it answers, and in how many seconds."""
    began = time.monotonic()
    try:
        with connection.cursor() as cursor:
            cursor.execute("select 1")
    except DatabaseError as error:
        connection.close()
        return {"reachable": False, "error": str(error).strip()}
    return {"reachable": True, "seconds": round(time.monotonic() - began, 4)}


def _broker() -> dict[str, Any]:
    """Whether it answers, and how many messages wait in each queue."""
    try:
        with current_app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, interval_start=0)
            queues: Any = current_app.amqp.queues
            waiting = {
                name: queue(broker.default_channel).queue_declare().message_count
                for name, queue in queues.items()
            }
    except Exception as error:  # the transports' errors have nothing else in common
        return {"reachable": False, "error": str(error)}
    return {"reachable": True, "waiting": waiting}


def _ledger() -> dict[str, Any]:
    """Executions that are held, executions that run for longer than any may (``stuck``), and
    follow-ups not yet published with the age of the oldest in seconds (``lag``)."""
    unfinished = TaskExecution.objects.filter(completed_at=None, retired_at=None)
    longest = dt.timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT) + GRACE
    waiting = OutboxMessage.objects.filter(published_at=None)
    now, oldest = _now(), waiting.aggregate(oldest=Min("created_at"))["oldest"]
    return {
        "held": unfinished.filter(state=State.HELD).count(),
        "stuck": unfinished.filter(state=State.RUNNING, started_at__lt=now - longest).count(),
        "unpublished": waiting.count(),
        "lag": max(0.0, (now - oldest).total_seconds()) if oldest else 0.0,
    }


def _now() -> dt.datetime:
    with connection.cursor() as cursor:
        cursor.execute("select ledger_now()")
        now: dt.datetime = cursor.fetchall()[0][0]
    return now


def _dead_letters() -> int:
    """How many are open."""
    return DeadLetter.objects.filter(state=DeadLetter.State.OPEN).count()


def _problems(state: dict[str, Any]) -> list[str]:
    ledger = state["ledger"] or {"held": 0, "stuck": 0, "lag": 0}
    signs = {
        "The database cannot be reached.": not state["database"]["reachable"],
        "The broker cannot be reached.": not state["broker"]["reachable"],
        "Executions are held for a person to decide.": ledger["held"],
        "Executions run for longer than their time limit.": ledger["stuck"],
        "Follow-ups are not published.": ledger["lag"] > LATE.total_seconds(),
        "Messages have failed for good.": state["dead_letters"],
    }
    return [problem for problem, is_there in signs.items() if is_there]
