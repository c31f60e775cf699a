"""How the installation is: its database, its broker, and what the ledger is waiting for."""

import time
from typing import Any

from celery import current_app
from django.db import DatabaseError, connection

from core.models import DeadLetter
from ledger import alarms, figures

NO_BROKER = "The broker cannot be reached."
DEAD_LETTERS = "Messages have failed for good."


def look() -> dict[str, Any]:
    """The state of each part, and the ``problems`` in words that stay the same while they last.

    What is a problem of the ledger is for `ledger.alarms` to say.
    """
    database = _database()
    ledger = _ledger() if database["reachable"] else None
    state = {
        "database": database,
        "broker": _broker(),
        "ledger": ledger and _in_short(ledger),
        "dead_letters": ledger and _dead_letters(),
    }
    return {"problems": _problems(state, ledger), **state}


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


def _ledger() -> figures.Figures | None:
    """None where it does not answer."""
    try:
        return figures.read()
    except DatabaseError:
        return None


def _in_short(ledger: figures.Figures) -> dict[str, float]:
    """Executions that are held or ``stuck`` without a worker, follow-ups that are not published,
    and for how many seconds the oldest of these has waited (``lag``)."""
    return {
        "held": sum(of_task.held for of_task in ledger.open.values()),
        "stuck": sum(of_task.stuck for of_task in ledger.open.values()),
        "unpublished": ledger.unpublished,
        "lag": ledger.outbox_lag,
    }


def _dead_letters() -> int:
    """How many are open."""
    return DeadLetter.objects.filter(state=DeadLetter.State.OPEN).count()


def _problems(state: dict[str, Any], ledger: figures.Figures | None) -> list[str]:
    signs: dict[str, Any] = {
        alarms.UNREACHABLE.summary: ledger is None,
        NO_BROKER: not state["broker"]["reachable"],
        DEAD_LETTERS: state["dead_letters"],
    }
    if ledger is not None:
        levels = (alarm for alarm in alarms.LASTING if isinstance(alarm, alarms.Level))
        signs |= {alarm.summary: alarm.is_over(ledger) for alarm in levels}
    return [problem for problem, is_there in signs.items() if is_there]
