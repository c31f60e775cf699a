import datetime as dt
from pathlib import Path

from celery import Task, shared_task
from django.conf import settings
from django.contrib.sessions.models import Session
from django.utils import timezone

from core import log_files
from core.retrying import WITH_BACKOFF
from ledger import current_execution, idempotent_daily_task

LOGS_KEPT = dt.timedelta(days=30)
SESSIONS_KEPT = dt.timedelta(days=7)


@shared_task(bind=True, max_retries=3, name="core.tasks.cleanup_old_logs", **WITH_BACKOFF)
@idempotent_daily_task(ttl_hours=48, guarantee="at_least_once")
def cleanup_old_logs(self: Task) -> dict[str, int]:
    """Delete the log files in ``settings.LOG_FOLDER`` that are unchanged for 30 days, and the
    sessions that expired 7 days ago. Returns how many of both.

    Sessions are deleted and counted in one step; files that a killed run had deleted are not
    counted again.
    """
    execution = current_execution()
    return {
        "sessions": execution.step("sessions", _delete_sessions),
        "log_files": execution.step("log files", _delete_log_files),
    }


def _delete_sessions() -> int:
    expired = Session.objects.filter(expire_date__lt=timezone.now() - SESSIONS_KEPT)
    return expired.delete()[0]


def _delete_log_files() -> int:
    if not settings.LOG_FOLDER:
        return 0
    return log_files.delete_old(Path(settings.LOG_FOLDER), timezone.now() - LOGS_KEPT)
