"""Whether an execution's worker is alive: asked of the locks, without taking its own; of the
primary's, because a replica knows none."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from ..models import State, TaskExecution
from ..sweep import RECOVERY_GRACE
from . import primary

_UNLOCKED = "ledger_lock_id(ledger_taskexecution.key) not in (select lock from ledger_locked())"


def without_worker(executions: QuerySet[TaskExecution]) -> QuerySet[TaskExecution]:
    """Those that are running, and whose run lock nobody holds. Younger ones than the recovery's
    grace are left out: they may be between their claim and their lock."""
    running = executions.filter(state=State.RUNNING, completed_at=None, retired_at=None)
    return running.using(primary.alias()).extra(  # noqa: S610
        where=["ledger_taskexecution.started_at < ledger_now() - %s", _UNLOCKED],
        params=[RECOVERY_GRACE],
    )


def lost(executions: Iterable[TaskExecution]) -> set[int]:
    """Ids of those among these rows that have no worker; no query where none is running."""
    running = [row.pk for row in executions if row.state == State.RUNNING]
    if not running:
        return set()
    found = without_worker(TaskExecution.objects.filter(pk__in=running))
    return set(found.values_list("pk", flat=True))
