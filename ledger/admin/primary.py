"""Where executions are decided about, and where their workers' locks are: in the database that the
ledger is written to, also where a router has the pages read from a replica of it."""

from __future__ import annotations

from django.db import router

from ..models import TaskExecution


def alias(execution: TaskExecution | None = None) -> str:
    """The database's alias; that of the execution's ledger, where it is read from another one."""
    hints = {} if execution is None else {"instance": execution}
    return router.db_for_write(TaskExecution, **hints)
