import datetime as dt
from pathlib import Path
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.utils import timezone

from core import log_files
from core.models import DeadLetter, Report, SecurityAlert
from core.retrying import WITH_BACKOFF
from ledger import current_execution, idempotent_daily_task
from ledger.conf import setting

LOGS_KEPT = dt.timedelta(days=30)
SESSIONS_KEPT = dt.timedelta(days=7)
LETTERS_KEPT = LOGS_KEPT
"""They hold arguments, like logs."""


@shared_task(bind=True, max_retries=3, name="core.tasks.cleanup_old_logs", **WITH_BACKOFF)
@idempotent_daily_task(ttl_hours=48, guarantee="at_least_once")
def cleanup_old_logs(self: Task) -> dict[str, int]:
    """Delete the log files in ``settings.LOG_FOLDER`` that are unchanged for 30 days, and the rows
    that have had their time: see `outlived`. Returns how many of each.

    Rows are deleted and counted in one step; files that a killed run had deleted are not counted
    again.
    """
    execution = current_execution()
    return {
        **{name: execution.step(name, rows.delete)[0] for name, rows in outlived().items()},
        "log_files": execution.step("log files", _delete_log_files),
    }


def outlived() -> dict[str, QuerySet[Any]]:
    """Sessions that expired 7 days ago, dead letters that were sent again or dismissed 30 days ago,
    and reports and resolved alerts that are older than the ledger's own history is kept."""
    now = timezone.now()
    history = now - dt.timedelta(days=setting("RETENTION_DAYS"))
    return {
        "sessions": Session.objects.filter(expire_date__lt=now - SESSIONS_KEPT),
        "dead_letters": DeadLetter.objects.filter(decided_at__lt=now - LETTERS_KEPT),
        "security_alerts": SecurityAlert.objects.filter(resolved_at__lt=history),
        "reports": Report.objects.filter(period__lt=timezone.localdate(history)),
    }


def _delete_log_files() -> int:
    if not settings.LOG_FOLDER:
        return 0
    return log_files.delete_old(Path(settings.LOG_FOLDER), timezone.now() - LOGS_KEPT)
