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

KEPT_FOR_EVER = pgtrigger.Trigger(
    name="kept_for_ever",
    operation=pgtrigger.Update | pgtrigger.Delete,
    when=pgtrigger.Before,
    func="RAISE EXCEPTION '% % is evidence and is kept as it is', TG_TABLE_NAME, OLD.id;",
)

# Django's tests empty their database between them, and its name begins with test_.
NEVER_TRUNCATED = pgtrigger.Trigger(
    name="never_truncated",
    level=pgtrigger.Statement,
    operation=pgtrigger.Truncate,
    when=pgtrigger.Before,
    func="""
        IF coalesce(current_setting('ledger.truncating', true),
                    CASE WHEN current_database() LIKE 'test\\_%' THEN 'on' END)
            IS DISTINCT FROM 'on'
        THEN
            RAISE EXCEPTION 'the ledger never truncates %: history leaves only by sweeps',
                TG_TABLE_NAME
                USING HINT = 'To empty a database that is not in use: SET ledger.truncating = on';
        END IF;
        RETURN NULL;
    """,
)

LEGAL_MOVES_ONLY = pgtrigger.Trigger(
    name="legal_moves_only",
    operation=pgtrigger.Update,
    when=pgtrigger.Before,
    condition=pgtrigger.Condition(
        "OLD.state <> 'running' OR NEW.attempt < OLD.attempt OR NEW.retired_at IS NOT NULL"
    ),
    declare=[("unretired", "ledger_taskexecution")],
    func="""
        unretired := NEW;
        unretired.retired_at := OLD.retired_at;
        unretired.retired_reason := OLD.retired_reason;
        IF OLD.retired_at IS NOT NULL
            OR NEW.key <> OLD.key
            OR NEW.attempt < OLD.attempt
            OR (NEW.retired_at IS NOT NULL AND NEW.state = 'running')
            OR (OLD.state = 'completed' AND unretired::text <> OLD::text)
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

# What no move changes, of a running execution either. A trigger on columns costs a statement that
# does not name them next to nothing.
ORIGIN_KEPT = pgtrigger.Trigger(
    name="origin_kept",
    operation=pgtrigger.UpdateOf(  # type: ignore[no-untyped-call]
        "id", "key", "task_name", "period", "guarantee", "claimed_at"
    ),
    when=pgtrigger.Before,
    func="""
        IF (NEW.id, NEW.key, NEW.task_name, NEW.period, NEW.guarantee, NEW.claimed_at)
            IS DISTINCT FROM
            (OLD.id, OLD.key, OLD.task_name, OLD.period, OLD.guarantee, OLD.claimed_at)
        THEN
            RAISE EXCEPTION 'execution % is % (attempt %) and cannot become another like that',
                OLD.id, OLD.state, OLD.attempt;
        END IF;
        RETURN NEW;
    """,
)

FOLLOW_UP_KEPT = pgtrigger.Trigger(
    name="origin_kept",
    operation=pgtrigger.UpdateOf(  # type: ignore[no-untyped-call]
        "id", "execution_id", "task_name", "task_id", "message", "created_at"
    ),
    when=pgtrigger.Before,
    func="""
        IF (NEW.id, NEW.execution_id, NEW.task_name, NEW.task_id, NEW.created_at, NEW.message::text)
            IS DISTINCT FROM
           (OLD.id, OLD.execution_id, OLD.task_name, OLD.task_id, OLD.created_at, OLD.message::text)
        THEN
            RAISE EXCEPTION 'follow-up % of execution % is sent as it was committed, or not at all',
                OLD.id, OLD.execution_id;
        END IF;
        RETURN NEW;
    """,
)
