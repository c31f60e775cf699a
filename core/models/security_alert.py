from django.conf import settings
from django.db import models
from django.db.models import Count, Q
from django.db.models.functions import Now

from .token import TokenFamily


class SecurityAlertQuerySet(models.QuerySet["SecurityAlert"]):
    def unresolved(self) -> "SecurityAlertQuerySet":
        return self.filter(resolved_at=None)

    def by_severity(self) -> dict[str, int]:
        """How many there are of each severity, 0 included."""
        counted = self.order_by("severity").values_list("severity").annotate(n=Count("pk"))
        return dict.fromkeys(map(str, SecurityAlert.Severity), 0) | dict(counted)


class SecurityAlert(models.Model):
    """Something that a person has to look at, and what came of it."""

    class Severity(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        CRITICAL = "critical"

    kind = models.CharField(max_length=50)
    severity = models.CharField(max_length=10, choices=Severity)
    message = models.TextField()
    family = models.ForeignKey(TokenFamily, models.SET_NULL, null=True, blank=True)
    raised_at = models.DateTimeField(db_default=Now(), editable=False)
    resolved_at = models.DateTimeField(null=True, editable=False)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="+"
    )
    resolution = models.TextField(blank=True, help_text="What was found and done.")

    objects = SecurityAlertQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="alert_resolved_says_how",
                condition=Q(resolved_at=None, resolution="")
                | (Q(resolved_at__isnull=False) & ~Q(resolution="")),
            ),
        )
        indexes = (
            models.Index(
                fields=["severity"], condition=Q(resolved_at=None), name="core_unresolved_alerts"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} ({self.severity})"
