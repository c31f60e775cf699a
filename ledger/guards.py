"""Triggers that hold in the database what code could forget.

An ordinary completion meets none of their conditions. The conditions are kept this short because
the server prepares them anew for every statement: spelling the legal moves out there, or in CHECK
constraints, made a whole run measurably slower.
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
    func="RAISE EXCEPTION '% % is history and cannot be changed', TG_TABLE_NAME, OLD.id;",
)

LEGAL_MOVES_ONLY = pgtrigger.Trigger(
    name="legal_moves_only",
    operation=pgtrigger.Update,
    when=pgtrigger.Before,
    condition=pgtrigger.Condition(
        "OLD.state <> 'running' OR NEW.attempt < OLD.attempt OR NEW.retired_at IS NOT NULL"
    ),
    func="""
        IF OLD.retired_at IS NOT NULL
            OR NEW.key <> OLD.key
            OR NEW.attempt < OLD.attempt
            OR (NEW.retired_at IS NOT NULL AND NEW.state = 'running')
            OR (OLD.state = 'completed' AND (
                NEW.state <> 'completed'
                OR NEW.result::text IS DISTINCT FROM OLD.result::text
                OR NEW.completed_at IS DISTINCT FROM OLD.completed_at))
            OR (OLD.state = 'failed' AND NEW.state NOT IN ('failed', 'running', 'held'))
            OR (OLD.state = 'held' AND NEW.state NOT IN ('held', 'completed', 'failed'))
        THEN
            RAISE EXCEPTION 'execution % is % (attempt %) and cannot become % (attempt %) like
            that',
                OLD.id, OLD.state, OLD.attempt, NEW.state, NEW.attempt;
        END IF;
        RETURN NEW;
    """,
)
