import datetime as dt
from typing import Any, cast

from celery import Task, shared_task

from core import reports
from core.models import Report
from core.retrying import WITH_BACKOFF
from ledger import current_execution, idempotent_daily_task, idempotent_task

from .alerts import send_critical_alert

DAY, WEEK = dt.timedelta(days=1), dt.timedelta(weeks=1)


@shared_task(bind=True, max_retries=2, name="core.tasks.generate_reports", **WITH_BACKOFF)
@idempotent_daily_task(ttl_hours=48)
def generate_reports(self: Task) -> dict[str, Any]:
    """Write the reports about the day before the business date: that day (``period``, ISO 8601) and
    the ids of its ``reports`` by kind. Both or none."""
    day = _this_period() - DAY
    return {
        "period": day.isoformat(),
        "reports": {
            kind.value: _write(kind, day, content)
            for kind, content in (
                (Report.Kind.OPERATIONS, reports.operations(day)),
                (Report.Kind.PAYROLL, reports.payroll(day)),
            )
        },
    }


@shared_task(bind=True, max_retries=2, name="core.tasks.generate_security_report", **WITH_BACKOFF)
@idempotent_task(ttl_hours=24 * 8, period="week")
def generate_security_report(self: Task) -> dict[str, Any]:
    """Write the report about the week before this one, and tell the admins of the critical alerts
    that are still unresolved: its Monday (``period``, ISO 8601), its id (``report``), and how many
    of those there are (``critical``). All of it is one commit."""
    monday = _this_period() - WEEK
    content = reports.security(monday)
    critical = content["unresolved"]["critical"]
    if critical:
        message = (
            f"{critical} critical security alerts are unresolved at the end of the week of "
            f"{monday}: look at them in the admin."
        )
        current_execution().enqueue(send_critical_alert.s("Weekly security report", message))
    return {
        "period": monday.isoformat(),
        "report": _write(Report.Kind.SECURITY, monday, content),
        "critical": critical,
    }


def _this_period() -> dt.date:
    """The business date, or the Monday of its week."""
    return cast(dt.date, current_execution().period)


def _write(kind: Report.Kind, period: dt.date, content: dict[str, Any]) -> int:
    """Written anew where somebody had it cleared in the ledger."""
    report, _ = Report.objects.update_or_create(
        kind=kind, period=period, defaults={"content": content}
    )
    return report.pk
