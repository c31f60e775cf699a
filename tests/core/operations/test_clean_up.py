"""What clean-ups delete, and what they leave alone."""

import datetime as dt
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from core import log_files
from core.models import DeadLetter, DeviceToken, Report, SecurityAlert, TokenFamily
from core.tasks import (
    cleanup_compromised_token_families,
    cleanup_expired_tokens,
    cleanup_old_logs,
    monitor_token_security_alerts,
)
from ledger.models import OutboxMessage, TaskExecution
from tests.core.operations import rows
from tests.core.operations.rows import DAY

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = dt.timedelta(hours=1)
NOBODY = 65534


def test_old_log_files_and_expired_sessions_go(settings: Settings, tmp_path: Path) -> None:
    settings.LOG_FOLDER = str(tmp_path)
    for name in ("2026-01-01.log", "worker.log.1", "worker.log.2.gz"):
        rows.log_file(tmp_path, name, age=31 * DAY)
    rows.log_file(tmp_path, "notes.txt", age=400 * DAY)
    rows.log_file(tmp_path, "new.log", age=29 * DAY)
    (tmp_path / "folder.log").mkdir()
    rows.session(expired=8 * DAY)
    recent, valid = rows.session(expired=6 * DAY), rows.session(expired=-DAY)

    assert cleanup_old_logs() == rows.NONE_OLD | {"sessions": 1, "log_files": 3}
    assert {path.name for path in tmp_path.iterdir()} == {"folder.log", "new.log", "notes.txt"}
    assert set(Session.objects.all()) == {recent, valid}


def test_what_was_decided_long_ago_goes_and_what_is_open_stays(settings: Settings) -> None:
    settings.LOG_FOLDER = ""
    settings.LEDGER = {"RETENTION_DAYS": 100}
    now = timezone.now()
    long_open, alert_open = rows.dead_letter(age_in_minutes=10**6), rows.alert()
    SecurityAlert.objects.update(raised_at=now - 400 * DAY)
    for age in (29, 31):
        rows.dead_letter(decided=age * DAY)
    for age in (99, 101):
        rows.alert(resolved=age * DAY)
        rows.report(about=timezone.localdate(now - age * DAY))

    deleted = {"dead_letters": 1, "security_alerts": 1, "reports": 1}
    assert cleanup_old_logs() == rows.NONE_OLD | deleted
    assert long_open in DeadLetter.objects.all()
    assert DeadLetter.objects.filter(state="dismissed", decided_at__gt=now - 30 * DAY).count() == 1
    assert alert_open in SecurityAlert.objects.all()
    assert SecurityAlert.objects.filter(resolved_at__gt=now - 100 * DAY).count() == 1
    assert Report.objects.get().period == timezone.localdate(now - 99 * DAY)


@pytest.mark.parametrize("folder", ["", "/nowhere/at/all"])
def test_without_log_files_the_sessions_go(settings: Settings, folder: str) -> None:
    settings.LOG_FOLDER = folder
    rows.session(expired=8 * DAY)

    assert cleanup_old_logs() == rows.NONE_OLD | {"sessions": 1, "log_files": 0}


@pytest.fixture
def somebody_elses_folder() -> Iterator[Path]:
    """Whose files this process may not delete, even where it is root."""
    with tempfile.TemporaryDirectory() as folder:
        rows.log_file(Path(folder), "old.log", age=31 * DAY)
        os.chmod(folder, 0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if user == 0:
                os.seteuid(user)
            os.chmod(folder, 0o700)


def test_a_file_that_cannot_be_deleted_is_named(somebody_elses_folder: Path) -> None:
    with pytest.raises(OSError, match=r"1 old log files cannot be deleted: .*old\.log: Permission"):
        log_files.delete_old(somebody_elses_folder, timezone.now())


def test_a_log_file_is_named_after_the_day_and_appended_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [log_files.DailyLogFile(str(tmp_path / "made")) for _ in range(2)]
    for day, number, line in ((1, 0, "a"), (1, 1, "b"), (2, 0, "c"), (2, 1, "d")):
        monkeypatch.setattr(
            log_files.DailyLogFile, "_todays", lambda self, day=day: f"{self.folder}/day{day}.log"
        )
        files[number].emit(logging.makeLogRecord({"msg": line}))
    for handler in files:
        handler.close()

    assert (tmp_path / "made/day1.log").read_text() == "a\nb\n"
    assert (tmp_path / "made/day2.log").read_text() == "c\nd\n"


def test_expired_and_revoked_tokens_go_and_the_families_that_had_only_those() -> None:
    gone, kept = rows.family(tokens=0), rows.family(tokens=1)
    rows.token(gone, expired=31 * DAY)
    rows.token(kept, expired=31 * DAY)
    recent = rows.token(kept, expired=29 * DAY)
    revoked = rows.token(kept, expired=-DAY)
    DeviceToken.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now() - 31 * DAY)
    new = rows.family(tokens=0)
    TokenFamily.objects.exclude(pk=new.pk).update(created_at=timezone.now() - 90 * DAY)

    assert cleanup_expired_tokens() == {"tokens": 3, "families": 1}
    assert set(TokenFamily.objects.all()) == {kept, new}
    assert recent in DeviceToken.objects.all()


def test_a_compromised_family_is_revoked_at_once_and_deleted_three_days_later(
    broker: None,
) -> None:
    family, other = rows.family(compromised=DAY), rows.family()

    assert cleanup_compromised_token_families() == {"revoked": 1, "tokens": 2, "deleted": 0}
    alert = SecurityAlert.objects.get()
    assert (alert.severity, alert.family, alert.resolved_at) == ("critical", family, None)
    assert "dana on phone is compromised since" in alert.message
    assert not DeviceToken.objects.filter(family=family, revoked_at=None).exists()
    assert DeviceToken.objects.filter(family=other, revoked_at=None).count() == 2

    TokenFamily.objects.filter(pk=family.pk).update(revoked_at=timezone.now() - 71 * HOUR)
    assert cleanup_compromised_token_families(72)["deleted"] == 0  # asked for twice in an hour
    assert cleanup_compromised_token_families(hours_to_keep=70)["deleted"] == 1
    assert SecurityAlert.objects.get().family is None
    assert OutboxMessage.objects.count() == 1


def test_what_is_rolled_back_was_neither_revoked_nor_told(broker: None) -> None:
    family = rows.family(compromised=DAY)
    with transaction.atomic():
        cleanup_compromised_token_families()
        assert OutboxMessage.objects.count() == SecurityAlert.objects.count() == 1
        transaction.set_rollback(True)

    family.refresh_from_db()
    assert family.revoked_at is None
    assert not OutboxMessage.objects.exists()
    assert not SecurityAlert.objects.exists()
    assert not TaskExecution.objects.exists()


def test_as_many_unresolved_alerts_as_may_be_remind_nobody(broker: None) -> None:
    for severity in ("low", "low", "critical"):
        rows.alert(severity)
    rows.alert()
    SecurityAlert.objects.filter(pk=rows.alert().pk).update(
        resolved_at=timezone.now(), resolution="It was a test."
    )
    counts = {"low": 2, "medium": 0, "high": 0, "critical": 2}

    found = monitor_token_security_alerts(4)
    assert found == {"unresolved": 4, "by_severity": counts, "reminded": False}
    assert monitor_token_security_alerts(3)["reminded"]
    [follow_up] = OutboxMessage.objects.all()
    assert "4 security alerts are unresolved (2 low, 2 critical)" in str(follow_up.message)


@pytest.mark.parametrize(
    ("task", "named"),
    [
        (cleanup_expired_tokens, "days_to_keep"),
        (cleanup_compromised_token_families, "hours_to_keep"),
        (monitor_token_security_alerts, "max_unresolved_alerts"),
    ],
)
def test_a_number_below_zero_is_refused(task: object, named: str) -> None:
    with pytest.raises(ValueError, match=f"{named}=-1: give a number from 0"):
        task(-1)  # type: ignore[operator]
