"""The views of ``sql/views.sql`` as models, to read; that file says what each column is."""

from __future__ import annotations

from django.db import models

from ..models import VerbatimJSONField


class View(models.Model):
    """Made by a migration, not by Django; no permissions, because nobody edits a view."""

    class Meta:
        abstract = True
        managed = False
        default_permissions = ()


class RunHistory(View):
    execution_id = models.BigIntegerField(primary_key=True)
    key = models.TextField()
    task_name = models.TextField()
    period = models.TextField(null=True)  # noqa: DJ001  as in the table
    guarantee = models.TextField()
    state = models.TextField()
    attempts = models.IntegerField()
    task_id = models.TextField()
    root_id = models.TextField()
    worker = models.TextField()
    claimed_at = models.DateTimeField()
    started_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)
    seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)
    expires_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)
    retired_reason = models.TextField()
    error_type = models.TextField(null=True)  # noqa: DJ001  most have none
    duplicates = models.BigIntegerField()

    class Meta(View.Meta):
        db_table = "ledger_run_history"

    def __str__(self) -> str:
        return f"{self.key} ({self.state})"


class Attempt(View):
    pk = models.CompositePrimaryKey("execution_id", "attempt")
    execution_id = models.BigIntegerField()
    attempt = models.IntegerField()
    task_name = models.TextField()
    key = models.TextField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    outcome = models.TextField()
    worker = models.TextField(null=True)  # noqa: DJ001  unknown of some in the middle
    task_id = models.TextField(null=True)  # noqa: DJ001
    error_type = models.TextField(null=True)  # noqa: DJ001

    class Meta(View.Meta):
        db_table = "ledger_attempts"

    def __str__(self) -> str:
        return f"attempt {self.attempt} of {self.key}: {self.outcome}"


class Duplicate(View):
    event_id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    execution_id = models.BigIntegerField()
    task_name = models.TextField()
    key = models.TextField()
    period = models.TextField(null=True)  # noqa: DJ001
    task_id = models.TextField()
    same_message = models.BooleanField()
    worker = models.TextField()
    seconds_after = models.DecimalField(max_digits=20, decimal_places=3, null=True)

    class Meta(View.Meta):
        db_table = "ledger_duplicates"

    def __str__(self) -> str:
        return f"{self.key} at {self.at}"


class Decision(View):
    event_id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    decision = models.TextField()
    actor = models.TextField()
    reason = models.TextField()
    execution_id = models.BigIntegerField()
    task_name = models.TextField()
    key = models.TextField()

    class Meta(View.Meta):
        db_table = "ledger_decisions"

    def __str__(self) -> str:
        return f"{self.key} {self.decision} by {self.actor}"


class DailySummary(View):
    pk = models.CompositePrimaryKey("day", "task_name")
    day = models.DateField()
    task_name = models.TextField()
    executions = models.BigIntegerField()
    completed = models.BigIntegerField()
    failed = models.BigIntegerField()
    held = models.BigIntegerField()
    running = models.BigIntegerField()
    retried = models.BigIntegerField()
    duplicates = models.BigIntegerField()
    failures = models.BigIntegerField()
    workers_lost = models.BigIntegerField()
    p50_seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)

    class Meta(View.Meta):
        db_table = "ledger_daily_summary"

    def __str__(self) -> str:
        return f"{self.task_name} on {self.day}"


class TaskHealth(View):
    pk = models.CompositePrimaryKey("days", "task_name")
    days = models.IntegerField()
    task_name = models.TextField()
    executions = models.BigIntegerField()
    completed = models.BigIntegerField()
    failed = models.BigIntegerField()
    held = models.BigIntegerField()
    running = models.BigIntegerField()
    attempts = models.BigIntegerField()
    success_rate = models.DecimalField(max_digits=5, decimal_places=4, null=True)
    duplicates = models.BigIntegerField()
    duplicate_rate = models.DecimalField(max_digits=5, decimal_places=4)
    p50_seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)
    p95_seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)
    p99_seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)

    class Meta(View.Meta):
        db_table = "ledger_task_health"

    def __str__(self) -> str:
        return f"{self.task_name}, {self.days} days"


class OpenItem(View):
    pk = models.CompositePrimaryKey("item", "execution_id", "task_id")
    item = models.TextField()
    execution_id = models.BigIntegerField()
    follow_up_id = models.BigIntegerField(null=True)
    task_name = models.TextField()
    key = models.TextField()
    tries = models.IntegerField()
    since = models.DateTimeField()
    seconds = models.DecimalField(max_digits=20, decimal_places=3)
    worker = models.TextField()
    task_id = models.TextField()
    detail = models.TextField(null=True)  # noqa: DJ001

    class Meta(View.Meta):
        db_table = "ledger_open_items"

    def __str__(self) -> str:
        return f"{self.item}: {self.key}"


class RunDetails(View):
    execution_id = models.BigIntegerField(primary_key=True)
    arguments = models.JSONField()
    result = VerbatimJSONField(null=True)
    error = models.TextField()

    class Meta(View.Meta):
        db_table = "ledger_run_details"

    def __str__(self) -> str:
        return str(self.execution_id)
