-- The protocol's verbs. Each is one round trip; what makes it correct is said above it.
--
-- The rule behind all of them: LOCK FIRST, THEN READ, IN TWO STATEMENTS. Under READ COMMITTED every
-- statement inside a volatile function sees what was committed before that statement began, so what
-- is read after the lock was obtained is stable for as long as the lock is held. One statement that
-- did both would read a snapshot from before the lock.
--
-- A plan made while the table was small stays cached in its session as the table grows. Hence
-- "set enable_seqscan = off", and hence no condition here may imply the condition of a partial index
-- other than the one that is meant: a lookup by id does not say "retired_at is null" (a running row
-- is live: a trigger says so), or the planner may walk every live row to find one.

-- The one clock. Everything that needs the time asks here.
create or replace function ledger_now() returns timestamptz
language sql volatile parallel safe as $$ select clock_timestamp() $$;

-- A key's run lock. The second argument keeps the ledger's locks apart from a project's own.
create or replace function ledger_lock_id(p_key text) returns bigint
language sql immutable strict parallel safe as $$ select hashtextextended(p_key, 4992370221) $$;

-- The locks that somebody holds, run locks among them, seen without trying one: a try would be taken for a
-- run by a delivery at that moment. It shows what is held while the query runs, not when its snapshot was
-- taken; whoever must not take a run that ends meanwhile for one without a worker asks in a statement before
-- the one that reads the rows. An advisory lock of one bigint shows as its two halves, and objsubid 1.
-- Stable, although locks come and go, so that it becomes a part of the query that asks.
create or replace function ledger_locked() returns table (lock bigint, pid integer)
language sql stable as $$
    select classid::bigint << 32 | objid::bigint, pid from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted
        and database = (select oid from pg_database where datname = current_database())
$$;

-- Appends to an execution's story. Times are the database's.
create or replace function ledger_record(
    p_execution bigint, p_kind text, p_attempt integer, p_task_id text, p_worker text,
    p_actor text default '', p_reason text default '', p_traceback text default ''
) returns void language sql volatile as $$
    insert into ledger_executionevent
        (execution_id, kind, at, attempt, task_id, worker, actor, reason, traceback)
    values
        (p_execution, p_kind, ledger_now(), p_attempt, p_task_id, p_worker, p_actor, p_reason, p_traceback)
$$;

-- CLAIM. Returns the execution's id and the attempt that is now the caller's; attempt 0 where it is
-- completed, its skip recorded, so that the caller answers from it; null where there is nothing to claim
-- (running, held, completed with other arguments, or somebody holds the lock).
-- The lock comes before the insert, so that a claim never waits on the unfinished insert of a
-- transaction that joined the caller's. What is completed is stable and answered without the lock.
-- The lock ends with this claim's commit; ledger_lock takes it again for the run, and id and attempt tell
-- whether anybody came between: a key that was cleared meanwhile begins again at attempt 1.
-- p_async: the commit may be asynchronous where the effects commit in the same database later: the
-- WAL is ordered, so their durable commit makes this one durable. Never for effects elsewhere.
create or replace function ledger_claim(
    p_key text, p_task_name text, p_args_hash text, p_arguments text, p_period text,
    p_guarantee text, p_task_id text, p_root_id text, p_worker text,
    p_max_crashes integer, p_async boolean
) returns bigint[] language plpgsql volatile set enable_seqscan = off as $$
declare
    locked boolean := pg_try_advisory_xact_lock(ledger_lock_id(p_key));
    live record;
    mine bigint;
    moment timestamptz := ledger_now();
    ignored text;
begin
    if p_async then
        ignored := set_config('synchronous_commit', 'off', true);
    end if;
    select id, state, attempt, crashes, args_hash, expires_at <= moment as expired into live
        from ledger_taskexecution where key = p_key and retired_at is null;
    if found then
        if live.state = 'completed' and live.expired is not true then
            if live.args_hash <> p_args_hash then
                return null;
            end if;
            perform ledger_record(live.id, 'skipped', live.attempt, p_task_id, p_worker);
            return array[live.id, 0];
        end if;
        if not locked or live.state in ('running', 'held') then
            return null;
        end if;
        -- Without the run lock a sweep may still retire the row: its own lock decides who was first.
        perform from ledger_taskexecution where id = live.id and retired_at is null for update;
        if found and live.state = 'completed' then
            update ledger_taskexecution
                set retired_at = moment, retired_reason = 'expired' where id = live.id;
        elsif found and live.crashes > p_max_crashes then
            update ledger_taskexecution set state = 'held' where id = live.id;
            perform ledger_record(live.id, 'held', live.attempt, p_task_id, p_worker, '',
                format('%s workers lost in a row', live.crashes));
            return null;
        elsif found and live.args_hash <> p_args_hash
            and exists (select from ledger_executionstep where execution_id = live.id) then
            -- A failed attempt binds nobody to its arguments, but its steps were done with them.
            raise exception 'execution % has done steps with other arguments', live.id
                using errcode = 'LDG02';
        elsif found then
            update ledger_taskexecution
                set state = 'running', attempt = attempt + 1, args_hash = p_args_hash,
                    arguments = p_arguments::jsonb, task_id = p_task_id, root_id = p_root_id,
                    worker = p_worker, started_at = moment, expires_at = null, error = ''
                where id = live.id;
            return array[live.id, live.attempt + 1];
        end if;
    elsif not locked then
        return null;
    end if;

    insert into ledger_taskexecution
        (key, task_name, args_hash, arguments, period, guarantee, state, attempt, crashes,
         task_id, root_id, worker, claimed_at, started_at, retired_reason, error)
    values
        (p_key, p_task_name, p_args_hash, p_arguments::jsonb, p_period, p_guarantee, 'running', 1, 0,
         p_task_id, p_root_id, p_worker, moment, moment, '', '')
    returning id into mine;
    return array[mine, 1];
end $$;

-- LOCK, then read. The first statement of the run's own transaction: holding this lock is what "the
-- worker is alive" means. Whether it was obtained, then the live row; its id is null where none is
-- visible. As an array, which costs a fraction of a row set.
create or replace function ledger_lock(p_key text) returns text[]
language plpgsql volatile set enable_seqscan = off as $$
declare
    locked boolean := pg_try_advisory_xact_lock(ledger_lock_id(p_key));
    -- A body may compute for longer than the server lets a transaction idle.
    ignored text := set_config('idle_in_transaction_session_timeout', '0', true);
    live text[];
begin
    select array[locked::text, id::text, state, attempt::text, crashes::text, args_hash,
                 (expires_at <= ledger_now())::text, result::text]
        into live from ledger_taskexecution where key = p_key and retired_at is null;
    return coalesce(live, array[locked::text, null, null, null, null, null, null, null]);
end $$;

-- STAY: lock for a body that works elsewhere. The transaction is idle for as long as that takes, whatever
-- this role's or database's settings do to idle or long transactions. It must keep no lock but this one:
-- the row is read (ledger_lock) within a savepoint that is rolled back, or a migration of the ledger's
-- tables would wait for the body, and everybody else for the migration.
create or replace function ledger_stay(p_key text) returns boolean language plpgsql volatile as $$
begin
    perform set_config('idle_in_transaction_session_timeout', '0', true);
    if current_setting('transaction_timeout', true) is not null then  -- PostgreSQL 17 and newer
        perform set_config('transaction_timeout', '0', true);
    end if;
    return pg_try_advisory_xact_lock(ledger_lock_id(p_key));
end $$;

-- COMPLETE, in the transaction of the effects. It must RAISE where no row matches: the COMMIT that
-- follows in the same round trip would otherwise commit the effects of a claim that was lost.
create or replace function ledger_complete(
    p_id bigint, p_attempt integer, p_result text, p_ttl interval
) returns void language plpgsql volatile set enable_seqscan = off as $$
declare
    moment timestamptz := ledger_now();
begin
    update ledger_taskexecution
        set state = 'completed', completed_at = moment, expires_at = moment + p_ttl,
            result = p_result::json, crashes = 0
        where id = p_id and attempt = p_attempt and state = 'running';
    if not found then
        raise exception 'execution % is no longer running attempt %', p_id, p_attempt
            using errcode = 'LDG01';
    end if;
end $$;

-- FAIL, after the effects were rolled back, in a transaction of its own and under the lock. A delivery
-- that only looks holds the lock for a moment, so it is tried for longer than that. Where it stays
-- taken, another delivery has already moved on: its attempt is left alone, ours is recorded.
-- p_state is 'failed', or 'held' where an effect outside the database is in doubt. p_died: its process
-- ends with it, so that it is delivered again; it counts as a crash, or that would go on for ever.
create or replace function ledger_fail(
    p_key text, p_id bigint, p_attempt integer, p_ttl interval, p_task_id text, p_worker text,
    p_error text, p_traceback text, p_state text, p_died boolean default false
) returns void language plpgsql volatile set enable_seqscan = off as $$
declare
    locked boolean;
    settled boolean := false;
begin
    for look in 1..20 loop
        locked := pg_try_advisory_xact_lock(ledger_lock_id(p_key));
        exit when locked;
        perform pg_sleep(0.005);
    end loop;
    if locked then
        update ledger_taskexecution
            set state = p_state, error = p_error,
                crashes = case when p_died then crashes + 1 else 0 end,
                expires_at = case p_state when 'failed' then ledger_now() + p_ttl end
            where id = p_id and attempt = p_attempt and state = 'running';
        settled := found;
    end if;
    perform ledger_record(p_id, 'failed', p_attempt, p_task_id, p_worker, '', p_error, p_traceback);
    if settled and p_state = 'held' then
        perform ledger_record(p_id, 'held', p_attempt, p_task_id, p_worker, '',
            'it failed and may have taken effect');
    end if;
end $$;

-- TAKE OVER an attempt whose lock was found free: its worker died. Committed before the body runs,
-- so that a task that kills its workers can be counted, and held after too many.
-- Returns id and new attempt, or null where somebody else was first or the execution is now held.
create or replace function ledger_take_over(
    p_key text, p_id bigint, p_attempt integer, p_max_crashes integer,
    p_task_id text, p_root_id text, p_worker text
) returns bigint[] language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
begin
    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then
        return null;
    end if;
    select * into live from ledger_taskexecution
        where id = p_id and attempt = p_attempt and state = 'running' for update;
    if not found then
        return null;
    end if;
    perform ledger_record(p_id, 'abandoned', p_attempt, live.task_id, live.worker, '', 'its worker is gone');
    if live.crashes + 1 > p_max_crashes then
        update ledger_taskexecution set state = 'held', crashes = crashes + 1 where id = p_id;
        perform ledger_record(p_id, 'held', p_attempt, p_task_id, p_worker, '',
            case live.guarantee when 'at_most_once' then 'its worker is gone; it may have taken effect'
                else format('%s workers lost in a row', live.crashes + 1) end);
        return null;
    end if;
    update ledger_taskexecution
        set attempt = attempt + 1, crashes = crashes + 1, task_id = p_task_id, root_id = p_root_id,
            worker = p_worker, started_at = ledger_now()
        where id = p_id;
    perform ledger_record(p_id, 'taken_over', p_attempt + 1, p_task_id, p_worker);
    return array[p_id, p_attempt + 1];
end $$;

-- ANSWER a delivery that is probably a duplicate with its result, or null where it is none, without a
-- lock: what is completed does not change. The record of a skip may be lost with the server's power,
-- never with a process.
create or replace function ledger_answer(
    p_key text, p_args_hash text, p_task_id text, p_worker text
) returns text language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
begin
    select * into live from ledger_taskexecution
        where key = p_key and retired_at is null and state = 'completed' and args_hash = p_args_hash
            and (expires_at is null or expires_at > ledger_now());
    if found then
        perform set_config('synchronous_commit', 'off', true);
        perform ledger_record(live.id, 'skipped', live.attempt, p_task_id, p_worker);
    end if;
    return live.result::text;
end $$;

-- RETIRE by a person's decision. 'running' where its worker is alive, 'none' where nothing is live.
create or replace function ledger_retire(p_key text, p_actor text, p_reason text)
returns text language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
begin
    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then
        return 'running';
    end if;
    select * into live from ledger_taskexecution where key = p_key and retired_at is null for update;
    if not found then
        return 'none';
    end if;
    if live.state = 'running' then
        perform ledger_record(live.id, 'abandoned', live.attempt, live.task_id, live.worker, '',
            'its worker is gone');
    end if;
    update ledger_taskexecution
        set state = case state when 'running' then 'failed' else state end,
            retired_at = ledger_now(), retired_reason = left('cleared: ' || p_reason, 255)
        where id = live.id;
    perform ledger_record(live.id, 'retired', live.attempt, '', '', p_actor, p_reason);
    return 'retired';
end $$;

-- RELEASE a held row by a person's decision: 'completed' answers duplicates with p_result, 'failed' lets
-- the next delivery run the next attempt, 'retired' lets it run as a new execution.
create or replace function ledger_release(
    p_key text, p_outcome text, p_result text, p_ttl interval, p_actor text, p_reason text
) returns text language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
    moment timestamptz := ledger_now();
begin
    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then
        return 'running';
    end if;
    select * into live from ledger_taskexecution where key = p_key and retired_at is null for update;
    if not found then
        return 'none';
    end if;
    if live.state <> 'held' then
        return 'not held';
    end if;
    if p_outcome = 'completed' then
        update ledger_taskexecution
            set state = 'completed', completed_at = moment, expires_at = moment + p_ttl,
                result = p_result::json, crashes = 0
            where id = live.id;
    elsif p_outcome = 'failed' then
        update ledger_taskexecution
            set state = 'failed', crashes = 0, expires_at = moment + p_ttl where id = live.id;
    else
        update ledger_taskexecution
            set retired_at = moment, retired_reason = left('released: ' || p_reason, 255)
            where id = live.id;
    end if;
    perform ledger_record(live.id, 'released', live.attempt, '', '', p_actor,
        format('%s: %s', p_outcome, p_reason));
    return 'released';
end $$;

-- RECORD LATE: a run that completed unprotected while this database was unreachable. Where somebody
-- else has claimed the key since, only the event says so.
create or replace function ledger_record_late(
    p_key text, p_task_name text, p_args_hash text, p_arguments text, p_period text,
    p_guarantee text, p_task_id text, p_root_id text, p_worker text, p_result text, p_ttl interval
) returns void language plpgsql volatile set enable_seqscan = off as $$
declare
    mine bigint;
    claimed bigint[] := ledger_claim(p_key, p_task_name, p_args_hash, p_arguments, p_period, p_guarantee,
        p_task_id, p_root_id, p_worker, 2147483647, false);
begin
    select id into mine from ledger_taskexecution where key = p_key and retired_at is null;
    if claimed[2] > 0 then
        perform ledger_complete(mine, claimed[2]::integer, p_result, p_ttl);
    end if;
    if mine is not null then
        perform ledger_record(mine, 'unprotected', coalesce(nullif(claimed[2], 0), 1)::integer, p_task_id, p_worker,
            '', 'ran while the ledger could not be reached');
    end if;
end $$;

-- IMPORT: an execution that completed under another system, known to a cache. What is live here is left
-- as it is, failed too, unless it completed and has expired; its state is the answer, 'running' where
-- its lock is taken. It is claimed under the lock that it was looked at under: nobody comes between.
create or replace function ledger_import(
    p_key text, p_task_name text, p_args_hash text, p_arguments text, p_period text,
    p_guarantee text, p_result text, p_ttl interval, p_actor text, p_reason text
) returns text language plpgsql volatile set enable_seqscan = off as $$
declare
    live record;
    mine bigint[];
begin
    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then
        return 'running';
    end if;
    select state, expires_at <= ledger_now() as expired into live
        from ledger_taskexecution where key = p_key and retired_at is null;
    if found and (live.state <> 'completed' or live.expired is not true) then
        return live.state;
    end if;
    mine := ledger_claim(p_key, p_task_name, p_args_hash, p_arguments, p_period, p_guarantee,
        '', '', '', 2147483647, false);
    perform ledger_complete(mine[1], mine[2]::integer, p_result, p_ttl);
    perform ledger_record(mine[1], 'imported', mine[2]::integer, '', '', p_actor, p_reason);
    return 'imported';
end $$;

-- ABANDON: a running row whose lock is free belongs to a worker that died with its message. Recorded
-- as failed, so that the next delivery may run it (at most once: as held). False where somebody holds
-- the lock or was first.
create or replace function ledger_abandon(p_key text, p_id bigint, p_attempt integer, p_actor text)
returns boolean language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
begin
    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then
        return false;
    end if;
    update ledger_taskexecution
        set state = case guarantee when 'at_most_once' then 'held' else 'failed' end,
            crashes = crashes + 1, error = 'its worker is gone'
        where id = p_id and attempt = p_attempt and state = 'running'
        returning * into live;
    if not found then
        return false;
    end if;
    perform ledger_record(p_id, 'abandoned', p_attempt, live.task_id, live.worker, p_actor,
        'its worker is gone');
    if live.state = 'held' then
        perform ledger_record(p_id, 'held', p_attempt, live.task_id, live.worker, p_actor,
            'its worker is gone; it may have taken effect');
    end if;
    return true;
end $$;

-- RETIRE what has expired, one batch; SKIP LOCKED lets several sweeps run at once.
create or replace function ledger_retire_expired(p_batch integer)
returns bigint language plpgsql volatile as $$
declare
    moment timestamptz := ledger_now();
    swept bigint;
begin
    with due as (
        select id from ledger_taskexecution
        where retired_at is null and expires_at <= moment and state in ('completed', 'failed')
        order by expires_at limit p_batch for update skip locked
    )
    update ledger_taskexecution e
        set retired_at = moment, retired_reason = 'expired' from due where e.id = due.id;
    get diagnostics swept = row_count;
    return swept;
end $$;

-- PURGE history older than the retention, one batch, of what the figures have counted (figures.sql); a mark
-- that is read too early only leaves more. The setting opens the guard that otherwise refuses every
-- deletion; it ends with the transaction. What goes is noted in the chain of seals
-- (evidence.sql): whoever cannot have the chain's lock leaves the purge to whoever has it, rather than wait.
create or replace function ledger_purge(p_retention interval, p_batch integer)
returns bigint language plpgsql volatile as $$
declare
    outlived timestamptz := ledger_now() - p_retention;
    mark record;
    doomed bigint[];
    steps bigint[];
    events bigint[];
begin
    if not pg_try_advisory_xact_lock(ledger_chain_lock_id()) then
        return 0;
    end if;
    perform set_config('ledger.purging', 'on', true);
    select * into mark from ledger_tallymark;
    select coalesce(array_agg(id), '{}') into doomed from (
        select id from ledger_taskexecution x
        where retired_at < outlived
            and id <= mark.execution and id <> all(mark.unfinished)
            and not exists (select from ledger_executionevent v
                where v.execution_id = x.id and v.id > mark.event)
            and not exists (select from ledger_outboxmessage m
                where m.execution_id = x.id and m.published_at is null)
        order by retired_at limit p_batch for update skip locked
    ) old;
    delete from ledger_outboxmessage where execution_id = any(doomed);
    with gone as (delete from ledger_executionstep where execution_id = any(doomed) returning id)
        select coalesce(array_agg(id order by id), '{}') into steps from gone;
    delete from ledger_executionobject where execution_id = any(doomed);
    with gone as (delete from ledger_executionevent where execution_id = any(doomed) returning id)
        select coalesce(array_agg(id order by id), '{}') into events from gone;
    delete from ledger_taskexecution where id = any(doomed);
    perform set_config('ledger.purging', 'off', true);
    perform ledger_seal_purge(doomed, events, steps);
    return cardinality(doomed);
end $$;
