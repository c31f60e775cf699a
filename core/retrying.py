"""How operational tasks try again: after one second, two, four, up to ten minutes, each of it a
random part of that, so that what failed together does not come back together."""

from smtplib import SMTPException
from typing import Any

from django.db import OperationalError
from kombu.exceptions import OperationalError as BrokerError

TRANSIENT_ERRORS = (OperationalError, BrokerError, OSError, ConnectionError, SMTPException)

WITH_BACKOFF: dict[str, Any] = {
    "autoretry_for": TRANSIENT_ERRORS,
    "retry_backoff": True,
    "retry_backoff_max": 600,
    "retry_jitter": True,
}
"""Options of ``shared_task``."""
