"""Triggers that hold in the database what code could forget.

Their conditions describe only what is forbidden, so that a legal statement calls no function.
"""

from __future__ import annotations

import pgtrigger

NEVER_DELETED = pgtrigger.Trigger(
    name="never_deleted",
    operation=pgtrigger.Delete,
    when=pgtrigger.Before,
    condition=pgtrigger.Condition("current_setting('ledger.purging', true) IS DISTINCT FROM 'on'"),
    func="RAISE EXCEPTION 'the ledger never deletes: history leaves only by ledger.tasks.sweep, "
    "when its retention has passed';",
)

NEVER_CHANGED = pgtrigger.Trigger(
    name="never_changed",
    operation=pgtrigger.Update,
    when=pgtrigger.Before,
    func="RAISE EXCEPTION 'event % is history and cannot be changed', OLD.id;",
)

LEGAL_MOVES_ONLY = pgtrigger.Trigger(
    name="legal_moves_only",
    operation=pgtrigger.Update,
    when=pgtrigger.Before,
    condition=pgtrigger.Condition(
        "OLD.retired_at IS NOT NULL"
        " OR NEW.key <> OLD.key"
        " OR NEW.attempt < OLD.attempt"
        " OR (OLD.state = 'completed' AND (NEW.state <> 'completed'"
        "     OR NEW.result::text IS DISTINCT FROM OLD.result::text"
        "     OR NEW.completed_at IS DISTINCT FROM OLD.completed_at))"
        " OR (OLD.state = 'failed' AND NEW.state NOT IN ('failed', 'running', 'held'))"
        " OR (OLD.state = 'held' AND NEW.state NOT IN ('held', 'completed', 'failed'))"
    ),
    func="RAISE EXCEPTION 'execution % cannot go from % (attempt %) to % (attempt %)',"
    " OLD.id, OLD.state, OLD.attempt, NEW.state, NEW.attempt;",
)
