"""What the operational tasks find, made up."""

import datetime as dt
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.utils import timezone
from kombu.utils import json

from core.models import DeadLetter, DeviceToken, Report, SecurityAlert, TokenFamily
from core.tasks import send_critical_alert

DAY = dt.timedelta(days=1)

NONE_OLD = dict.fromkeys(("sessions", "dead_letters", "security_alerts", "reports", "log_files"), 0)
"""What the clean-up returns where nothing has outlived its time."""


def family(compromised: dt.timedelta | None = None, tokens: int = 2) -> TokenFamily:
    """A family with valid tokens; ``compromised`` so long ago."""
    user, _ = get_user_model().objects.get_or_create(username="dana")
    made = TokenFamily.objects.create(
        user=user,
        device="phone",
        compromised_at=None if compromised is None else timezone.now() - compromised,
    )
    for _ in range(tokens):
        token(made, expired=-30 * DAY)
    return made


def token(of: TokenFamily, expired: dt.timedelta) -> DeviceToken:
    """One that expired so long ago, or will, where that is negative."""
    expires_at = timezone.now() - expired
    return DeviceToken.objects.create(
        family=of, digest=uuid4().hex, expires_at=expires_at, issued_at=expires_at - 60 * DAY
    )


def alert(severity: str = "critical", resolved: dt.timedelta | None = None) -> SecurityAlert:
    """``resolved`` so long ago."""
    decided: dict[str, Any] = {}
    if resolved is not None:
        decided = {"resolved_at": timezone.now() - resolved, "resolution": "found and done"}
    return SecurityAlert.objects.create(
        kind="test", severity=severity, message="look at this", **decided
    )


def report(about: dt.date) -> Report:
    return Report.objects.create(kind="operations", period=about, content={})


def session(expired: dt.timedelta) -> Session:
    return Session.objects.create(
        session_key=uuid4().hex, session_data="", expire_date=timezone.now() - expired
    )


def log_file(folder: Path, name: str, age: dt.timedelta) -> Path:
    path = folder / name
    path.write_text("a line\n")
    then = (timezone.now() - age).timestamp()
    os.utime(path, (then, then))
    return path


def dead_letter(
    failures: int = 1,
    *,
    transient: bool = True,
    age_in_minutes: int = 0,
    decided: dt.timedelta | None = None,
) -> DeadLetter:
    """Of an alert; dismissed so long ago, where ``decided`` says so."""
    dismissed: dict[str, Any] = {}
    if decided is not None:
        dismissed = {"state": "dismissed", "decided_at": timezone.now() - decided}
    message = send_critical_alert.s("disk", "The disk of db1 is full.")
    return DeadLetter.objects.create(
        task_name=send_critical_alert.name,
        task_id=uuid4().hex,
        message=json.dumps(message),
        error="OSError: made up",
        is_transient=transient,
        failures=failures,
        failed_at=timezone.now() - dt.timedelta(minutes=age_in_minutes),
        **dismissed,
    )
