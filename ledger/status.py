"""The state of one key, for people and programs."""

from __future__ import annotations

from typing import Any

from .models import State, TaskExecution
from .results import load


def status_of(key: str, database: str) -> dict[str, Any]:
    """The mapping that ``check_idempotency_status`` documents."""
    row = (
        TaskExecution.objects.using(database)
        .filter(key=key, retired_at=None)
        .extra(select={"expired": "expires_at <= ledger_now()", "text": "result::text"})
        .defer("result")
        .first()
    )
    if row is None:
        return {
            "executed": False, "state": None, "completed_at": None, "expires_at": None,
            "attempt": None, "result": None, "key": key, "claimed_at": None, "error": "",
        }  # fmt: skip
    completed = row.state == State.COMPLETED and not row.expired
    return {
        "executed": completed,
        "state": "expired" if row.state == State.COMPLETED and row.expired else row.state,
        "completed_at": row.completed_at,
        "expires_at": row.expires_at,
        "attempt": row.attempt,
        "result": load(row.text) if completed else None,
        "key": key,
        "claimed_at": row.claimed_at,
        "error": row.error,
    }
