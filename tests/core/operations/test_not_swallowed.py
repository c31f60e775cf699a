"""What is another period's, or came later, is not taken for a duplicate."""

from pathlib import Path
from typing import Any

import pytest
from celery import Task
from pytest_django import Settings

from core.models import Report, SecurityAlert, TokenFamily
from core.tasks import (
    cleanup_compromised_token_families,
    cleanup_expired_tokens,
    cleanup_old_logs,
    generate_reports,
    generate_security_report,
    monitor_token_security_alerts,
)
from ledger import clear_idempotency_key
from ledger.models import OutboxMessage
from ledger.testing import Worker
from tests.core.operations import rows
from tests.core.operations.mail_server import Mailbox
from tests.core.operations.rows import DAY

pytestmark = pytest.mark.django_db(transaction=True)


def run(task: Task, period: str, *args: Any) -> dict[str, Any]:
    """As a message that was published in that period."""
    answer: dict[str, Any] = task.apply_async(args, headers={"ledger_period": period}).get(30)
    return answer


def test_tomorrows_reports(worker: Worker) -> None:
    for today in ("2026-03-02", "2026-03-02", "2026-03-03"):
        run(generate_reports, today)

    about = Report.objects.filter(kind="operations").order_by("period")
    assert [str(report.period) for report in about] == ["2026-03-01", "2026-03-02"]
    assert Report.objects.count() == 4


def test_next_weeks_report(worker: Worker) -> None:
    """2026-03-02 is a Monday."""
    for day in ("2026-03-02", "2026-03-08", "2026-03-09"):
        run(generate_security_report, day)

    about = [str(report.period) for report in Report.objects.order_by("period")]
    assert about == ["2026-02-23", "2026-03-02"]


def test_a_family_that_is_compromised_an_hour_later(worker: Worker, mailbox: Mailbox) -> None:
    hours = ("2026-03-02T10", "2026-03-02T10", "2026-03-02T11")
    revoked = []
    for hour in hours:
        rows.family(compromised=DAY)
        revoked.append(run(cleanup_compromised_token_families, hour)["revoked"])

    assert revoked == [1, 1, 2]  # the second answer is the first one's
    assert SecurityAlert.objects.count() == OutboxMessage.objects.count() == 3
    assert not TokenFamily.objects.filter(revoked_at=None).exists()


def test_alerts_that_are_still_unresolved_an_hour_later(worker: Worker, mailbox: Mailbox) -> None:
    rows.alert()
    assert run(monitor_token_security_alerts, "2026-03-02T10", 0)["unresolved"] == 1
    rows.alert()
    assert run(monitor_token_security_alerts, "2026-03-02T10", 0)["unresolved"] == 1
    assert run(monitor_token_security_alerts, "2026-03-02T11", 0)["unresolved"] == 2


def test_tomorrows_clean_up(worker: Worker, log_folder: Path) -> None:
    for day in ("2026-03-02", "2026-03-03"):
        rows.log_file(log_folder, f"{day}.log", age=31 * DAY)
        rows.session(expired=8 * DAY)
        rows.token(rows.family(tokens=0), expired=31 * DAY)
        assert run(cleanup_old_logs, day) == rows.NONE_OLD | {"sessions": 1, "log_files": 1}
        assert run(cleanup_expired_tokens, day)["tokens"] == 1
    assert list(log_folder.iterdir()) == []


def test_a_clean_up_that_keeps_less(settings: Settings) -> None:
    rows.token(rows.family(tokens=0), expired=20 * DAY)

    assert cleanup_expired_tokens()["tokens"] == 0
    assert cleanup_expired_tokens(days_to_keep=10)["tokens"] == 1


def test_reports_that_somebody_had_cleared_are_written_anew() -> None:
    generate_reports()
    before = dict(Report.objects.values_list("kind", "pk"))
    Report.objects.update(content={})
    assert clear_idempotency_key(generate_reports.name, reason="a wrong clock")
    generate_reports()

    assert dict(Report.objects.values_list("kind", "pk")) == before
    assert all(Report.objects.values_list("content", flat=True))
