from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class DeadLetter(models.Model):
    """A message whose task has failed for good: its retries, if any, are used up."""

    class State(models.TextChoices):
        OPEN = "open"
        REQUEUED = "requeued"
        DISMISSED = "dismissed"

    task_name = models.CharField(max_length=255)
    task_id = models.CharField(max_length=255, unique=True)
    message = models.TextField(help_text="The signature, as Celery writes it to JSON.")
    error = models.TextField()
    traceback = models.TextField(blank=True)
    is_transient = models.BooleanField(help_text="Another try may succeed: it is made by itself.")
    failures = models.PositiveIntegerField(
        help_text="How often it has failed for good, this time and before it was requeued."
    )
    failed_at = models.DateTimeField(db_default=Now(), editable=False)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    decided_at = models.DateTimeField(null=True, help_text="Requeued or dismissed.")
    requeued_as = models.CharField(max_length=255, blank=True, help_text="The new task's id.")

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="letter_decided_has_a_time",
                condition=Q(state="open", decided_at=None)
                | (~Q(state="open") & Q(decided_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="letter_requeued_says_as_what",
                condition=Q(state="requeued") ^ Q(requeued_as=""),
            ),
        )
        indexes = (
            models.Index(
                fields=["failed_at"], condition=Q(state="open"), name="core_open_dead_letters"
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_name} {self.task_id}"
