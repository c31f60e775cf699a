"""Fill a new installation with something to look at: a company, its work, and what operations meet.

Run again, it adds nothing that is still there."""

import datetime as dt
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.management import BaseCommand, call_command
from django.utils import timezone
from kombu.utils import json

from core.models import DeadLetter, DeviceToken, SecurityAlert, TokenFamily
from core.tasks import generate_reports, generate_security_report, send_critical_alert
from payroll.management.reporting import quiet_ledger
from payroll.models import Employee
from payroll.sample_data import __file__ as sample
from payroll.tasks import process_payroll

DAY = dt.timedelta(days=1)
IMPORTS = (
    ("import_pay_policies", "pay_policies.csv"),
    ("import_employees", "employees.csv"),
    ("import_worklogs", "work_logs.csv"),
)


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: Any, verbosity: int, **options: Any) -> None:
        for command, file in IMPORTS:
            call_command(command, str(Path(sample).parent / file), stdout=self.stdout)
        dana, _ = get_user_model().objects.get_or_create(username="dana")
        now = timezone.now()
        laptop, phone, lost = (
            token_family(dana, device, now) for device in ("laptop", "phone", "lost tablet")
        )
        TokenFamily.objects.filter(pk=lost.pk).mark_compromised()
        alert("new_device", SecurityAlert.Severity.LOW, "dana logged in on a laptop.", laptop)
        alert("many_logins", SecurityAlert.Severity.HIGH, "40 attempts to log in as dana.", phone)
        Session.objects.get_or_create(
            session_key="seed_demo", defaults={"session_data": "", "expire_date": now - 8 * DAY}
        )
        dead_letter()
        if settings.LOG_FOLDER:
            old_log_file(Path(settings.LOG_FOLDER), now - 31 * DAY)
        with quiet_ledger(verbosity):
            generate_reports()
            generate_security_report()
        for employee in Employee.objects.values_list("pk", flat=True):
            for _ in range(2):  # as publishers retry
                process_payroll.delay(employee, 2025, 10)
        self.stdout.write(
            "There are token families, security alerts, reports and a dead letter to look at in the"
            " admin. Where `make up` runs, its health check finds the dead letter within a minute"
            " and tells the admins by e-mail; at five past, the lost tablet's tokens are revoked."
            " Its workers pay October 2025: each payslip is asked for twice and posted once, and of"
            " the payments that follow some are held, because the bank's answer was lost."
        )


def token_family(user: Any, device: str, now: dt.datetime) -> TokenFamily:
    """With a token that is valid, and one that expired long ago."""
    family, _ = TokenFamily.objects.get_or_create(user=user, device=device)
    for name, issued_at in (("valid", now), ("expired", now - 70 * DAY)):
        DeviceToken.objects.get_or_create(
            digest=sha256(f"seed_demo {device} {name}".encode()).hexdigest(),
            defaults={"family": family, "issued_at": issued_at, "expires_at": issued_at + 30 * DAY},
        )
    return family


def alert(kind: str, severity: SecurityAlert.Severity, message: str, family: TokenFamily) -> None:
    SecurityAlert.objects.get_or_create(
        kind=kind, family=family, defaults={"severity": severity, "message": message}
    )


def dead_letter() -> None:
    message = send_critical_alert.s("Sent again", "This was a dead letter of manage.py seed_demo.")
    DeadLetter.objects.get_or_create(
        task_id="seed_demo",
        defaults={
            "task_name": send_critical_alert.name,
            "message": json.dumps(message),
            "error": "SMTPRecipientsRefused: an example, which did not happen",
            "is_transient": False,
            "failures": 1,
        },
    )


def old_log_file(folder: Path, written: dt.datetime) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{written:%Y-%m-%d}.log"
    if not path.exists():
        path.write_text("A log file of manage.py seed_demo, old enough to be deleted.\n")
        os.utime(path, (written.timestamp(), written.timestamp()))
