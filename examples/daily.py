"""Once a day: whoever starts it, however often, today's run happens once, and tomorrow's too.

The day is that of the message: a retry after midnight is still yesterday's run, and
``headers={"ledger_period": "2026-11-01"}`` makes up for a day that was missed.
"""

from typing import Any

from celery import shared_task
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.utils import timezone

from ledger import idempotent_daily_task


@shared_task(autoretry_for=(OperationalError,), retry_backoff=True, max_retries=3)
@idempotent_daily_task(ttl_hours=48)
def delete_expired_sessions() -> dict[str, Any]:
    """Returns how many were deleted; so does every duplicate, without deleting anything."""
    deleted, _ = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    return {"deleted": deleted}
