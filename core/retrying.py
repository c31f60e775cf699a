"""How operational tasks try again: after one second, two, four, up to ten minutes, each of it a
random part of that, so that what failed together does not come back together."""

from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from celery.exceptions import NotRegistered
from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerError

TRANSIENT_ERRORS = (OperationalError, BrokerError, OSError, ConnectionError, SMTPException)
NOT_TRANSIENT = (SMTPRecipientsRefused,)

WITH_BACKOFF: dict[str, Any] = {
    "autoretry_for": TRANSIENT_ERRORS,
    "dont_autoretry_for": NOT_TRANSIENT,
    "retry_backoff": True,
    "retry_backoff_max": 600,
    "retry_jitter": True,
}
"""Options of ``shared_task``."""


def is_transient(error: BaseException) -> bool:
    """Whether another try may succeed. A task that one worker does not know, another may."""
    may_pass = isinstance(error, (*TRANSIENT_ERRORS, NotRegistered))
    return may_pass and not isinstance(error, NOT_TRANSIENT)
