"""The ledger's tables. Rows are written by the functions in ``sql/``, never through the ORM."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex, GinIndex, HashIndex
from django.db import models
from django.db.models import Q

from .guards import (
    FOLLOW_UP_KEPT,
    LEGAL_MOVES_ONLY,
    NEVER_CHANGED,
    NEVER_DELETED,
    NEVER_TRUNCATED,
    ORIGIN_KEPT,
)
from .keys import MAX_KEY, MAX_STEP_NAME, MAX_TASK_NAME
from .periods import MAX_LABEL


class State(models.TextChoices):
    RUNNING = "running", "running"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    HELD = "held", "held"


class Guarantee(models.TextChoices):
    EXACTLY_ONCE = "exactly_once", "exactly once"
    AT_LEAST_ONCE = "at_least_once", "at least once"
    AT_MOST_ONCE = "at_most_once", "at most once"


class VerbatimJSONField(models.JSONField):
    """PostgreSQL ``json``: keeps a result letter for letter, which ``jsonb`` would rewrite or, for
    a NUL character in a string, refuse."""

    def db_type(self, connection: Any) -> str:
        return "json"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value  # psycopg has parsed it already; a text result must not be parsed twice


class TaskExecution(models.Model):
    """One logical run of one key. Live until ``retired_at`` is set; then it is history."""

    id = models.BigAutoField(primary_key=True)
    key = models.CharField(max_length=MAX_KEY)
    task_name = models.CharField(max_length=MAX_TASK_NAME)
    args_hash = models.CharField(max_length=64, help_text="SHA-256 of all canonical arguments")
    arguments = models.JSONField(help_text="arguments by name, redacted, for people to read")
    period = models.CharField(  # noqa: DJ001  most executions have none
        max_length=MAX_LABEL,
        null=True,
        blank=True,
        help_text="of a date-based key: 2026-11-30, 2026-11-30T13, 2026-W49 or 2026-11",
    )
    guarantee = models.CharField(max_length=20, choices=Guarantee)
    state = models.CharField(max_length=20, choices=State)
    attempt = models.IntegerField(help_text="1, 2, …; also the fencing token")
    crashes = models.IntegerField(help_text="workers lost in a row")
    task_id = models.CharField(max_length=255, blank=True)
    root_id = models.CharField(max_length=255, blank=True)
    worker = models.CharField(max_length=255)
    claimed_at = models.DateTimeField(help_text="first claimed")
    started_at = models.DateTimeField(help_text="this attempt began")
    completed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="empty: never")
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_reason = models.CharField(max_length=255, blank=True)
    result = VerbatimJSONField(null=True, blank=True)
    error = models.TextField(blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["key"], condition=Q(retired_at=None), name="ledger_one_live_row_per_key"
            ),
        ]
        indexes: ClassVar = [
            # No query of the protocol may imply another index's condition than the one it needs: a
            # plan cached while the table was empty would keep the wrong one for as long as its
            # session.
            models.Index(
                fields=["started_at"],
                condition=Q(completed_at=None, retired_at=None),
                name="ledger_open",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(retired_at=None) & ~Q(expires_at=None),
                name="ledger_expiry",
            ),
            models.Index(
                fields=["retired_at"], condition=~Q(retired_at=None), name="ledger_history"
            ),
            # The views'. Rows lie nearly in the order of their times: blocks are summed up.
            BrinIndex(
                fields=["claimed_at"],
                name="ledger_claimed",
                autosummarize=True,
                pages_per_range=16,
            ),
            # The admin's, for its filters and its search; docs/design.md has what each costs a run.
            models.Index(fields=["task_name", "guarantee", "id"], name="ledger_by_task"),
            models.Index(
                fields=["id"],
                condition=Q(attempt__gt=1) | Q(state__in=["failed", "held"]),
                name="ledger_unusual",
            ),
            # Without the empty ids of plain calls: equal values make one ever longer chain.
            HashIndex(fields=["task_id"], condition=~Q(task_id=""), name="ledger_by_task_id"),
            HashIndex(fields=["key"], condition=~Q(retired_at=None), name="ledger_key_history"),
            GinIndex(fields=["arguments"], opclasses=["jsonb_path_ops"], name="ledger_by_argument"),
        ]
        permissions: ClassVar = [
            ("can_view_values", "Can view arguments, results and errors"),
            ("can_release", "Can release a held execution"),
            ("can_clear", "Can clear an execution, so that it may run again"),
            ("can_run_again", "Can publish an execution's task again"),
            ("can_recover", "Can recover an execution without a worker"),
        ]
        triggers: ClassVar = [NEVER_DELETED, NEVER_TRUNCATED, LEGAL_MOVES_ONLY, ORIGIN_KEPT]

    def __str__(self) -> str:
        return f"{self.key} ({self.state}, attempt {self.attempt})"


class ExecutionEvent(models.Model):
    """What an execution's present state would otherwise forget. Append-only."""

    class Kind(models.TextChoices):
        SKIPPED = "skipped", "duplicate answered"
        FAILED = "failed", "failed"
        ABANDONED = "abandoned", "worker lost"
        TAKEN_OVER = "taken_over", "taken over"
        HELD = "held", "held"
        RELEASED = "released", "released"
        RETIRED = "retired", "retired"
        LOST_CLAIM = "lost_claim", "claim lost"
        UNPROTECTED = "unprotected", "ran unprotected"
        RECOVERED = "recovered", "recovered by hand"
        PUBLISHED = "published", "published again by hand"
        IMPORTED = "imported", "imported from a cache"
        DISCARDED = "discarded", "follow-up given up"

    id = models.BigAutoField(primary_key=True)
    # No constraint: it would be checked, and the execution's row locked, for every skip. Events are
    # written by functions that hold the execution, and it never goes before them.
    execution = models.ForeignKey(
        TaskExecution,
        models.PROTECT,
        related_name="events",
        db_constraint=False,
        db_index=False,
    )
    kind = models.CharField(max_length=20, choices=Kind)
    at = models.DateTimeField()
    attempt = models.IntegerField()
    task_id = models.CharField(max_length=255, blank=True)
    worker = models.CharField(max_length=255, blank=True)
    actor = models.CharField(max_length=255, blank=True)
    reason = models.TextField(blank=True)
    traceback = models.TextField(blank=True)

    class Meta:
        default_permissions = ("view",)
        indexes: ClassVar = [
            # By kind, because one execution may have answered a million duplicates.
            models.Index(fields=["execution", "kind", "id"], name="ledger_story"),
            BrinIndex(
                fields=["at"], name="ledger_event_at", autosummarize=True, pages_per_range=16
            ),
        ]
        triggers: ClassVar = [NEVER_DELETED, NEVER_TRUNCATED, NEVER_CHANGED]

    def __str__(self) -> str:
        return f"{self.kind} (attempt {self.attempt})"


class ExecutionStep(models.Model):
    """A part of an execution, done once; committed together with its own effects."""

    id = models.BigAutoField(primary_key=True)
    execution = models.ForeignKey(
        TaskExecution, models.PROTECT, related_name="steps", db_index=False
    )
    name = models.CharField(max_length=MAX_STEP_NAME)
    attempt = models.IntegerField()
    completed_at = models.DateTimeField()
    result = VerbatimJSONField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["execution", "name"], name="ledger_step_once"),
        ]
        triggers: ClassVar = [NEVER_DELETED, NEVER_TRUNCATED, NEVER_CHANGED]

    def __str__(self) -> str:
        return self.name


class ExecutionObject(models.Model):
    """A row of the business' that an execution wrote; see ``Execution.wrote``."""

    id = models.BigAutoField(primary_key=True)
    execution = models.ForeignKey(
        TaskExecution, models.PROTECT, related_name="wrote", db_constraint=False, db_index=False
    )
    model = models.CharField(max_length=200, help_text="such as payroll.payslip")
    object_id = models.CharField(max_length=255, help_text="its primary key, as text")
    label = models.CharField(max_length=200, blank=True, help_text="what it called itself then")

    class Meta:
        default_permissions = ("view",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["execution", "model", "object_id"], name="ledger_object_once"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["model", "object_id"], name="ledger_written_by"),
        ]
        triggers: ClassVar = [NEVER_DELETED, NEVER_TRUNCATED, NEVER_CHANGED]

    def __str__(self) -> str:
        return f"{self.model} {self.object_id}"


class OutboxMessage(models.Model):
    """A follow-up task that was committed with an execution's effects, published after that."""

    id = models.BigAutoField(primary_key=True)
    execution = models.ForeignKey(TaskExecution, models.PROTECT, related_name="follow_ups")
    task_name = models.CharField(max_length=MAX_TASK_NAME)
    task_id = models.CharField(max_length=255)
    message = VerbatimJSONField(help_text="the signature, as Celery writes it to JSON")
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(
        null=True, blank=True, help_text="or given up, where there is an error as well"
    )
    tries = models.IntegerField()
    error = models.TextField(blank=True)

    class Meta:
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(
                fields=["created_at"], condition=Q(published_at=None), name="ledger_unpublished"
            ),
            models.Index(fields=["task_id"], name="ledger_follow_up"),
        ]
        triggers: ClassVar = [NEVER_DELETED, NEVER_TRUNCATED, FOLLOW_UP_KEPT]

    def __str__(self) -> str:
        return f"{self.task_name} {self.task_id}"

    @property
    def is_discarded(self) -> bool:
        return self.published_at is not None and self.error != ""


class Tally(models.Model):
    """How often a task's executions came to something, up to ``TallyMark``, in one or more rows
    that add up: see sql/figures.sql."""

    id = models.BigAutoField(primary_key=True)
    task_name = models.CharField(max_length=MAX_TASK_NAME)
    outcome = models.CharField(max_length=20, help_text="completed, or the kind of an event")
    total = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.task_name} {self.outcome}: {self.total}"


class Rollup(models.Model):
    """What a task's executions that were claimed within a span came to, up to ``TallyMark``, and
    the duplicates answered in it, in one or more rows that add up: see sql/figures.sql."""

    id = models.BigAutoField(primary_key=True)
    minutes = models.SmallIntegerField(help_text="the span's length: 15, or 1440, a day of UTC")
    began = models.DateTimeField()
    task_name = models.CharField(max_length=MAX_TASK_NAME)
    outcome = models.CharField(max_length=20, help_text="the state it ended in, or skipped")
    total = models.BigIntegerField()
    bins = ArrayField(
        models.SmallIntegerField(null=True), help_text="ledger_bin of their durations, or null"
    )
    numbers = ArrayField(models.BigIntegerField(), help_text="how many are in each bin")

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(  # with what is counted: the histograms lie between, and are larger
                fields=["minutes", "began"],
                include=["task_name", "outcome", "total"],
                name="ledger_rollup_began",
            )
        ]

    def __str__(self) -> str:
        return f"{self.task_name} {self.outcome} from {self.began} on: {self.total}"


class TallyMark(models.Model):
    """How far the tally and the rollup are: one row."""

    id = models.SmallIntegerField(primary_key=True)
    execution = models.BigIntegerField(help_text="executions up to this id are counted")
    event = models.BigIntegerField(help_text="events up to this id are")
    unfinished = ArrayField(
        models.BigIntegerField(), help_text="executions among them that are not"
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"counted up to execution {self.execution} and event {self.event}"


from .evidence.models import Seal, UnsealedExecution  # noqa: E402, F401  models of this app
from .reporting.models import (  # noqa: E402, F401
    Attempt,
    DailySummary,
    Decision,
    Duplicate,
    OpenItem,
    RunDetails,
    RunHistory,
    TaskHealth,
)
