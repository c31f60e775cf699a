from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now


class Report(models.Model):
    """What was counted about a day or a week that is over."""

    class Kind(models.TextChoices):
        OPERATIONS = "operations", "operations, daily"
        PAYROLL = "payroll", "payroll, daily"
        SECURITY = "security", "security, weekly"

    kind = models.CharField(max_length=20, choices=Kind)
    period = models.DateField(help_text="The day, or the Monday of the week, that it is about.")
    content = models.JSONField(encoder=DjangoJSONEncoder)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-period", "kind")
        constraints = (
            models.UniqueConstraint(fields=["kind", "period"], name="report_once_per_period"),
        )

    def __str__(self) -> str:
        return f"{self.kind} report of {self.period}"
