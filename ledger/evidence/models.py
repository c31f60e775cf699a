"""The chain of seals, and what it has yet to seal. Written by ``sql/evidence.sql`` alone."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from ..guards import KEPT_FOR_EVER, NEVER_TRUNCATED


class Seal(models.Model):
    """One link of the chain: a batch of rows that became history, or that were purged."""

    class Kind(models.TextChoices):
        EXECUTION = "execution", "executions"
        EVENT = "event", "events"
        STEP = "step", "steps"

    class Act(models.TextChoices):
        SEALED = "sealed", "sealed"
        PURGED = "purged", "purged"

    id = models.BigIntegerField(primary_key=True, help_text="1, 2, 3, … without a gap")
    sealed_at = models.DateTimeField()
    kind = models.CharField(max_length=20, choices=Kind)
    act = models.CharField(max_length=20, choices=Act)
    upto = models.BigIntegerField(help_text="every id up to here is sealed, opened or not there")
    ids = ArrayField(models.BigIntegerField(), help_text="the rows")
    digests = models.BinaryField(help_text="their SHA-256, 32 bytes each, in the order of ids")
    opened = ArrayField(models.BigIntegerField(), help_text="executions left for a later seal")
    digest = models.BinaryField(help_text="SHA-256 of the seal before this one and of this one")

    class Meta:
        default_permissions = ("view",)
        indexes: ClassVar = [
            models.Index(
                fields=["kind", "id"], condition=models.Q(act="sealed"), name="ledger_sealed"
            )
        ]
        triggers: ClassVar = [KEPT_FOR_EVER, NEVER_TRUNCATED]

    def __str__(self) -> str:
        return f"{self.id}:{bytes(self.digest).hex()}"


class UnsealedExecution(models.Model):
    """An execution that was not final when the seals reached its id."""

    execution_id = models.BigIntegerField(primary_key=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.execution_id)
