from typing import Any

from celery import shared_task

from core import health
from ledger import non_idempotent

from .alerts import send_critical_alert


@shared_task(name="core.tasks.health_check")
@non_idempotent("an answer is about this moment; what it sends is under the ledger")
def health_check() -> dict[str, Any]:
    """Look at the database, the broker and the ledger, see `core.health.look`, and tell the admins
    of problems: once in 24 hours while they are the same. Sent from here, because a broker that is
    one of them would not carry it."""
    state = health.look()
    if problems := state["problems"]:
        send_critical_alert("Something is wrong", "\n".join(problems))
    return state
