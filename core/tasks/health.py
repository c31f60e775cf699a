from typing import Any

from celery import shared_task

from core import health
from ledger import alarms, check_idempotency_status, non_idempotent

from .alerts import send_critical_alert
from .watch_ledger import alert_of

ALERTS = {
    alarms.UNREACHABLE.summary: alert_of(alarms.UNREACHABLE),
    health.NO_BROKER: (
        "BrokerUnreachable",
        f"{health.NO_BROKER}\nWhat to do: {alarms.RUNBOOK}#brokerunreachable",
    ),
    health.DEAD_LETTERS: (
        "DeadLetters",
        f"{health.DEAD_LETTERS}\nWhat to do: {alarms.RUNBOOK}#deadletters",
    ),
}
"""Type and message by problem. Those of the ledger are for `watch_ledger`, or Prometheus, to tell
of, once they have lasted."""


@shared_task(name="core.tasks.health_check")
@non_idempotent("an answer is about this moment; what it sends is under the ledger")
def health_check() -> dict[str, Any]:
    """Look at the database, the broker, the ledger and the dead letters, see `core.health.look`,
    and tell the admins of what is in `ALERTS`, of each once in 24 hours. Sent from here, because a
    broker that is one of them would not carry it."""
    state = health.look()
    for problem in state["problems"]:
        if problem in ALERTS and not (state["ledger"] and _is_told(*ALERTS[problem])):
            send_critical_alert(*ALERTS[problem])
    return state


def _is_told(*words: str) -> bool:
    """Asked first, because a duplicate every minute would be most of what the ledger counts."""
    return bool(check_idempotency_status(send_critical_alert.name, words)["executed"])
