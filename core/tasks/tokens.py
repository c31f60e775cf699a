import datetime as dt
from typing import Any

from celery import Task, shared_task
from django.db.models import Q
from django.utils import timezone

from core.models import DeviceToken, SecurityAlert, TokenFamily
from core.retrying import WITH_BACKOFF
from ledger import current_execution, idempotent_daily_task, idempotent_task

from .alerts import send_critical_alert


@shared_task(bind=True, max_retries=3, name="core.tasks.cleanup_expired_tokens", **WITH_BACKOFF)
@idempotent_daily_task(ttl_hours=48)
def cleanup_expired_tokens(self: Task, days_to_keep: int = 30) -> dict[str, int]:
    """Delete the tokens that expired or were revoked so many days ago, and the families that are
    left without any. Returns how many of both."""
    before = timezone.now() - dt.timedelta(days=_at_least_0(days_to_keep=days_to_keep))
    old = DeviceToken.objects.filter(Q(expires_at__lt=before) | Q(revoked_at__lt=before))
    tokens = old.delete()[0]
    empty = TokenFamily.objects.filter(tokens=None, compromised_at=None, created_at__lt=before)
    return {"tokens": tokens, "families": empty.delete()[0]}


@shared_task(
    bind=True,
    max_retries=3,
    name="core.tasks.cleanup_compromised_token_families",
    **WITH_BACKOFF,
)
@idempotent_task(ttl_hours=24, period="hour")
def cleanup_compromised_token_families(self: Task, hours_to_keep: int = 72) -> dict[str, int]:
    """Revoke the tokens of compromised families, and delete the families that were revoked so many
    hours ago. Returns how many families and tokens were revoked, and families deleted.

    Each revoked family is a security alert and an e-mail; all of it is one commit.
    """
    before = timezone.now() - dt.timedelta(hours=_at_least_0(hours_to_keep=hours_to_keep))
    deleted = TokenFamily.objects.filter(revoked_at__lt=before).delete()[1]
    compromised = TokenFamily.objects.filter(revoked_at=None).exclude(compromised_at=None)
    families = list(compromised.select_related("user").select_for_update(of=("self",)))
    return {
        "revoked": len(families),
        "tokens": sum(_revoke(family) for family in families),
        "deleted": deleted.get(TokenFamily._meta.label, 0),
    }


@shared_task(
    bind=True, max_retries=3, name="core.tasks.monitor_token_security_alerts", **WITH_BACKOFF
)
@idempotent_task(ttl_hours=24, period="hour")
def monitor_token_security_alerts(self: Task, max_unresolved_alerts: int = 50) -> dict[str, Any]:
    """Remind the admins where more security alerts than that are unresolved: by one e-mail, and not
    again within 24 hours unless the numbers change.

    Returns how many are ``unresolved``, ``by_severity``, and whether that was too many
    (``reminded``).
    """
    _at_least_0(max_unresolved_alerts=max_unresolved_alerts)
    by_severity = SecurityAlert.objects.unresolved().by_severity()
    total = sum(by_severity.values())
    too_many = total > max_unresolved_alerts
    if too_many:
        counts = ", ".join(f"{n} {severity}" for severity, n in by_severity.items() if n)
        message = f"{total} security alerts are unresolved ({counts}): look at them in the admin."
        current_execution().enqueue(send_critical_alert.s("Unresolved security alerts", message))
    return {"unresolved": total, "by_severity": by_severity, "reminded": too_many}


def _revoke(family: TokenFamily) -> int:
    """Revoke a compromised family, raise an alert and tell the admins; returns how many tokens."""
    now = timezone.now()
    tokens = DeviceToken.objects.filter(family=family, revoked_at=None).update(revoked_at=now)
    family.revoked_at = now
    family.save(update_fields=["revoked_at"])
    alert = SecurityAlert.objects.create(
        kind="token_family_compromised",
        severity=SecurityAlert.Severity.CRITICAL,
        message=f"{family} is compromised since {family.compromised_at:%Y-%m-%d %H:%M} UTC. "
        f"Its tokens were revoked ({tokens}): the user has to log in again.",
        family=family,
    )
    current_execution().enqueue(send_critical_alert.s("Compromised device tokens", alert.message))
    return tokens


def _at_least_0(**named: int) -> int:
    [(name, value)] = named.items()
    if value < 0:
        raise ValueError(f"{name}={value}: give a number from 0.")
    return value
