"""Once for the same content: an alert that ten processes raise is mailed once in 24 hours.

A mail is no row of this database, so nobody can promise it exactly once. ``at_least_once`` mails
again only where a worker died between sending and recording it; both mails then carry the same
Message-ID, by which a mail program shows one.
"""

from smtplib import SMTPException

from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

from ledger import current_execution, idempotent_once


@shared_task(autoretry_for=(SMTPException, OSError), retry_backoff=True, max_retries=5)
@idempotent_once(ttl_hours=24, guarantee="at_least_once")
def send_alert(alert_type: str, message: str) -> dict[str, str]:
    key = current_execution().idempotency_key
    EmailMessage(
        subject=alert_type,
        body=message,
        to=[settings.DEFAULT_FROM_EMAIL],
        headers={"Message-ID": f"<{key}@alerts.example>"},
    ).send()
    return {"sent_at": timezone.now().isoformat()}
