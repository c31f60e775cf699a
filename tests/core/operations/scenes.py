"""Each operational task, what it finds, and what is there when it has been run once."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Task
from django.contrib.sessions.models import Session

from core import tasks
from core.models import DeviceToken, Report, SecurityAlert, TokenFamily
from tests.core.operations import rows
from tests.core.operations.rows import DAY


@dataclass(frozen=True)
class Scene:
    task: Task
    find: Callable[[Path], Any]
    """Makes what the task finds; gets the folder of log files."""
    count: Callable[[], Any]
    """What there is of it in the database."""
    once: Any
    """That, when the task was run once."""
    mails: tuple[str, ...]
    """The subjects of the mails that follow."""
    result: dict[str, Any]
    """What the task returns, or a part of that."""
    locked: str
    """A table that it needs."""
    args: tuple[Any, ...] = ()


def old_logs(folder: Path) -> None:
    rows.session(expired=8 * DAY)
    rows.session(expired=6 * DAY)
    rows.log_file(folder, "old.log", age=31 * DAY)


def old_tokens(_: Path) -> None:
    family = rows.family(tokens=1)
    rows.token(family, expired=31 * DAY)
    rows.token(family, expired=29 * DAY)


def compromised(_: Path) -> None:
    rows.family(compromised=DAY)
    rows.family()


def unresolved(_: Path) -> None:
    for _number in range(3):
        rows.alert()


SCENES = [
    Scene(
        tasks.cleanup_old_logs,
        old_logs,
        Session.objects.count,
        once=1,
        mails=(),
        result={"sessions": 1},
        locked="django_session",
    ),
    Scene(
        tasks.generate_reports,
        lambda _: None,
        lambda: sorted(Report.objects.values_list("kind", flat=True)),
        once=["operations", "payroll"],
        mails=(),
        result={},
        locked="core_report",
    ),
    Scene(
        tasks.cleanup_expired_tokens,
        old_tokens,
        DeviceToken.objects.count,
        once=2,
        mails=(),
        result={"tokens": 1, "families": 0},
        locked="core_devicetoken",
    ),
    Scene(
        tasks.cleanup_compromised_token_families,
        compromised,
        lambda: (
            TokenFamily.objects.exclude(revoked_at=None).count(),
            DeviceToken.objects.exclude(revoked_at=None).count(),
            SecurityAlert.objects.count(),
        ),
        once=(1, 2, 1),
        mails=("[critical] Compromised device tokens",),
        result={"revoked": 1, "tokens": 2, "deleted": 0},
        locked="core_securityalert",
    ),
    Scene(
        tasks.monitor_token_security_alerts,
        unresolved,
        SecurityAlert.objects.count,
        once=3,
        mails=("[critical] Unresolved security alerts",),
        result={"unresolved": 3, "reminded": True},
        locked="core_securityalert",
        args=(2,),
    ),
    Scene(
        tasks.generate_security_report,
        unresolved,
        lambda: list(Report.objects.values_list("kind", flat=True)),
        once=["security"],
        mails=("[critical] Weekly security report",),
        result={"critical": 3},
        locked="core_report",
    ),
]


def named(scene: Scene) -> str:
    return str(scene.task.name).rpartition(".")[2]
