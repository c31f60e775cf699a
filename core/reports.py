"""What the reports count. Days and weeks are those of ``settings.TIME_ZONE``."""

import datetime as dt
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum
from django.utils import timezone

from core.models import DeadLetter, DeviceToken, SecurityAlert, TokenFamily
from ledger.models import ExecutionEvent, TaskExecution
from payroll.models import Payment, Payslip


def operations(day: dt.date) -> dict[str, Any]:
    """What the ledger saw on a day: executions completed by task, events by kind (duplicates
    answered, failures, lost workers, …), and messages that failed for good."""
    completed = _completed(day)
    events = ExecutionEvent.objects.filter(_within("at", day))
    return {
        "completed": _counted(completed, "task_name"),
        "events": _counted(events, "kind"),
        "dead_letters": DeadLetter.objects.filter(_within("failed_at", day)).count(),
    }


def payroll(day: dt.date) -> dict[str, Any]:
    """Payslips posted on a day, by currency, and payments that were sent or are still open."""
    posted = Payslip.objects.filter(_within("posted_at", day))
    sums = posted.order_by().values_list("currency").annotate(Count("pk"), Sum("net"))
    return {
        "payslips": {currency: {"posted": n, "net": net} for currency, n, net in sums},
        "payments_sent": Payment.objects.filter(_within("sent_at", day)).count(),
        "payments_open": Payment.objects.filter(status=Payment.Status.PENDING).count(),
    }


def security(monday: dt.date) -> dict[str, Any]:
    """Security alerts of a week by severity, those unresolved by now, and what became of tokens."""

    def within_it(column: str) -> Q:
        return _within(column, monday, days=7)

    alerts = SecurityAlert.objects.all()
    return {
        "raised": alerts.filter(within_it("raised_at")).by_severity(),
        "resolved": alerts.filter(within_it("resolved_at")).by_severity(),
        "unresolved": alerts.unresolved().by_severity(),
        "families_compromised": TokenFamily.objects.filter(within_it("compromised_at")).count(),
        "tokens_issued": DeviceToken.objects.filter(within_it("issued_at")).count(),
        "tokens_revoked": DeviceToken.objects.filter(within_it("revoked_at")).count(),
    }


def _completed(day: dt.date) -> QuerySet[TaskExecution]:
    """Executions that completed on a day, found by index, though none is on that time.

    One that completes more than a day after its claim, which no time limit allows a single attempt,
    took a further attempt, or a person who released it as completed.
    """
    # The event is an instant younger than the completion, which midnight may come between.
    released = ExecutionEvent.objects.filter(
        _within("at", day, days=2), kind=ExecutionEvent.Kind.RELEASED
    )
    return TaskExecution.objects.filter(
        _within("claimed_at", day - dt.timedelta(days=1), days=2)
        | Q(attempt__gt=1)
        | Q(pk__in=list(released.values_list("execution", flat=True))),
        _within("completed_at", day),
    )


def _within(column: str, first: dt.date, days: int = 1) -> Q:
    zone = timezone.get_default_timezone()
    start, end = (
        dt.datetime.combine(day, dt.time(), zone) for day in (first, first + dt.timedelta(days))
    )
    return Q(**{f"{column}__gte": start, f"{column}__lt": end})


def _counted(rows: QuerySet[Any], column: str) -> dict[str, int]:
    """How many rows there are of each value of a column."""
    return dict(rows.order_by(column).values_list(column).annotate(n=Count("pk")))
