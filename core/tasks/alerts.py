from collections.abc import Sequence
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from core.retrying import WITH_BACKOFF
from ledger import current_execution, idempotent_once


@shared_task(bind=True, max_retries=5, name="core.tasks.send_critical_alert", **WITH_BACKOFF)
@idempotent_once(ttl_hours=24, guarantee="at_least_once", on_ledger_error="run")
def send_critical_alert(
    self: Task, alert_type: str, message: str, recipients: Sequence[str] | None = None
) -> dict[str, Any]:
    """Tell the recipients, by default ``settings.ALERT_RECIPIENTS``, by e-mail: the same words to
    the same people once in 24 hours, and even where the database is down.

    Sent twice after a crash, it is the same message by its Message-ID. Returns when it was sent
    (``sent_at``, ISO 8601) and to whom (``recipients``). Raises ValueError where there is nobody,
    OSError where the mail server cannot be reached or refuses.
    """
    told = list(settings.ALERT_RECIPIENTS if recipients is None else recipients)
    if not told:
        raise ValueError("An alert has no recipients: pass some, or set ALERT_RECIPIENTS.")
    EmailMessage(
        subject=f"[critical] {' '.join(alert_type.split())}",
        body=message,
        to=told,
        headers={"Message-ID": f"<{current_execution().idempotency_key}@alerts>"},
    ).send()
    return {"sent_at": timezone.now().isoformat(), "recipients": told}
