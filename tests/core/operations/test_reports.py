"""Reports count what happened in their period, and nothing else."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pgtrigger
import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from core import reports
from core.models import DeadLetter, DeviceToken, Report, SecurityAlert, TokenFamily
from core.tasks import generate_reports, generate_security_report
from ledger import idempotent_task, release
from ledger.models import OutboxMessage, TaskExecution
from ledger.testing import Clock
from payroll.models import Payment, Payslip
from payroll.services import post_payslip
from tests.core.operations import rows
from tests.payroll.company import OCTOBER, employee_with_week

pytestmark = pytest.mark.django_db(transaction=True)

BERLIN = ZoneInfo("Europe/Berlin")
SUNDAY = dt.date(2026, 3, 29)
"""The clocks are set forward: it has 23 hours."""


def at(day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 3, day, hour, minute, tzinfo=BERLIN)


def test_a_payroll_report_counts_the_payslips_of_a_day_in_the_projects_zone() -> None:
    moments = [at(28, 23, 59), at(29, 0), at(29, 23, 59), at(30, 0)]
    for moment in moments:
        payslip = post_payslip(employee_with_week().pk, OCTOBER)
        with pgtrigger.ignore("payroll.Payslip:payslip_is_final"):
            Payslip.objects.filter(pk=payslip.pk).update(posted_at=moment)
    first, second, *_ = Payment.objects.all()
    Payment.objects.filter(pk=first.pk).update(status="sent", sent_at=at(29, 12))
    Payment.objects.filter(pk=second.pk).update(status="sent", sent_at=at(30, 12))

    assert reports.payroll(SUNDAY) == {
        "payslips": {"EUR": {"posted": 2, "net": Decimal("1200.00")}},
        "payments_sent": 1,
        "payments_open": 2,
    }


def test_an_operations_report_counts_what_the_ledger_saw() -> None:
    generate_reports()
    generate_reports()
    rows.dead_letter()
    DeadLetter.objects.filter(pk=rows.dead_letter().pk).update(failed_at=at(29, 12))

    assert reports.operations(timezone.localdate()) == {
        "completed": {"core.tasks.generate_reports": 1},
        "events": {"skipped": 1},
        "dead_letters": 1,
    }
    assert reports.operations(SUNDAY) == {"completed": {}, "events": {}, "dead_letters": 1}


def test_an_operations_report_counts_what_completes_days_after_its_claim(
    ledger_clock: Clock,
) -> None:
    down = True

    @idempotent_task(72)
    def post() -> None:
        if down:
            raise ConnectionError

    @idempotent_task(72, guarantee="at_most_once")
    def send() -> None:
        raise ConnectionError

    for task in (post, send):
        with pytest.raises(ConnectionError):
            task()
    down = False
    ledger_clock.forward(days=3)
    post()
    release(TaskExecution.objects.get(state="held").key, "completed", reason="says the bank")

    completed = reports.operations(timezone.localdate() + dt.timedelta(days=3))["completed"]
    assert list(completed.values()) == [1, 1]
    assert reports.operations(timezone.localdate())["completed"] == {}


def test_an_operations_report_finds_its_day_by_index() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("set local enable_seqscan = off")
        plan = reports._completed(SUNDAY).explain()

    assert "ledger_claimed" in plan
    assert "ledger_unusual" in plan


def test_a_security_report_counts_a_week() -> None:
    for severity, moment in (
        ("low", at(22, 23, 59)),
        ("high", at(23, 0)),
        ("critical", at(29, 23, 59)),
        ("critical", at(30, 0)),
    ):
        SecurityAlert.objects.filter(pk=rows.alert(severity).pk).update(raised_at=moment)
    SecurityAlert.objects.filter(severity="high").update(
        resolved_at=at(24, 9), resolution="It was a test."
    )
    TokenFamily.objects.filter(pk=rows.family().pk).update(compromised_at=at(25, 9))
    DeviceToken.objects.update(issued_at=at(25, 9), revoked_at=at(30, 9))

    nothing = {"low": 0, "medium": 0, "high": 0, "critical": 0}
    assert reports.security(dt.date(2026, 3, 23)) == {
        "raised": nothing | {"high": 1, "critical": 1},
        "resolved": nothing | {"high": 1},
        "unresolved": nothing | {"low": 1, "critical": 2},
        "families_compromised": 1,
        "tokens_issued": 2,
        "tokens_revoked": 0,
    }


def test_reports_are_about_yesterday_and_last_week() -> None:
    yesterday = timezone.localdate() - dt.timedelta(days=1)
    written: dict[str, Any] = generate_reports()
    assert written["period"] == yesterday.isoformat()
    assert set(written["reports"].values()) == set(Report.objects.values_list("pk", flat=True))

    monday = dt.date.fromisoformat(generate_security_report()["period"])
    assert monday.weekday() == 0
    assert dt.timedelta(days=7) <= timezone.localdate() - monday < dt.timedelta(days=14)
    assert Report.objects.get(kind="security").period == monday


@pytest.fixture
def refusing_reports(transactional_db: None) -> Iterator[None]:
    """A database that takes no report but the first of the daily ones."""
    with connection.cursor() as cursor:
        cursor.execute(
            "alter table core_report add constraint refusing check (kind = 'operations')"
        )
        yield
        cursor.execute("alter table core_report drop constraint refusing")


def test_a_report_that_cannot_be_written_leaves_none_and_tells_nobody(
    refusing_reports: None,
) -> None:
    rows.alert()
    for task in (generate_reports, generate_security_report):
        with pytest.raises(IntegrityError, match="refusing"):
            task()

    assert not Report.objects.exists()
    assert not OutboxMessage.objects.exists()
    assert set(TaskExecution.objects.values_list("state", flat=True)) == {"failed"}
