-- The evidence: a chain of seals over what is history. Each seal holds the digests of a batch of rows and
-- the digest of itself and the seal before it, so that no row can be altered, removed or inserted, and no
-- seal either, without ledger.evidence.verify noticing. Sweeps seal; nobody else pays for it.
--
-- What is sealed: an execution once it is completed or retired, every event, every step. Rows are taken in
-- the order of their ids. An execution that is not yet final when its turn comes is noted in the seal as
-- opened, kept in ledger_unsealedexecution, and sealed by a later sweep. So every id up to the last seal's
-- is sealed, opened or not there, and a row that turns up between them was inserted.
--
-- A completed row may still be retired: when and why is not in its digest. Verifying holds it against what
-- is sealed, its expiry and the events.

-- A row's digest: SHA-256 of its columns as a JSON array. Times are seconds since 1970, so that no
-- session's time zone shows. Verifying compares the text of these functions with this file's.
create or replace function ledger_execution_digest(e ledger_taskexecution) returns bytea
language sql stable parallel safe as $$
    select sha256(convert_to(json_build_array(
        'execution', e.id, e.key, e.task_name, e.args_hash, e.arguments::text, e.period, e.guarantee,
        e.state, e.attempt, e.crashes, e.task_id, e.root_id, e.worker, extract(epoch from e.claimed_at),
        extract(epoch from e.started_at), extract(epoch from e.completed_at),
        extract(epoch from e.expires_at), e.result::text, e.error,
        case when e.state <> 'completed' then extract(epoch from e.retired_at) end,
        case when e.state <> 'completed' then e.retired_reason end
    )::text, 'UTF8'))
$$;

create or replace function ledger_event_digest(e ledger_executionevent) returns bytea
language sql stable parallel safe as $$
    select sha256(convert_to(json_build_array(
        'event', e.id, e.execution_id, e.kind, extract(epoch from e.at), e.attempt, e.task_id, e.worker,
        e.actor, e.reason, e.traceback
    )::text, 'UTF8'))
$$;

create or replace function ledger_step_digest(e ledger_executionstep) returns bytea
language sql stable parallel safe as $$
    select sha256(convert_to(json_build_array(
        'step', e.id, e.execution_id, e.name, e.attempt, extract(epoch from e.completed_at), e.result::text
    )::text, 'UTF8'))
$$;

-- SETTLED: the highest ids of executions, events and steps up to which no row can appear any more, or null
-- where a writer outlasts the patience. An id is drawn before its row is committed, and the transaction
-- that draws it holds the table's write lock from before that until it ends. So: first the ids, then, in
-- another statement, who is writing; when those have ended, all below is decided. Whoever comes later
-- draws higher ids.
create or replace function ledger_settled(p_patience interval) returns bigint[]
language plpgsql volatile as $$
declare
    tables oid[] := array['ledger_taskexecution'::regclass, 'ledger_executionevent'::regclass,
        'ledger_executionstep'::regclass];
    here oid := (select oid from pg_database where datname = current_database());
    deadline timestamptz := clock_timestamp() + p_patience;
    settled bigint[] := array[
        (select coalesce(max(id), 0) from ledger_taskexecution),
        (select coalesce(max(id), 0) from ledger_executionevent),
        (select coalesce(max(id), 0) from ledger_executionstep)];
    writers text[];
    still text[];
begin
    loop
        select array_agg(distinct virtualtransaction) into still from pg_locks
            where locktype = 'relation' and database = here and relation = any(tables)
                and mode = 'RowExclusiveLock' and granted and pid is distinct from pg_backend_pid()
                and (writers is null or virtualtransaction = any(writers));
        if still is null then
            return settled;
        end if;
        if clock_timestamp() > deadline then
            return null;
        end if;
        writers := still;
        perform pg_sleep(0.005);
    end loop;
end $$;

-- The chain's lock: whoever holds it may append, until its transaction ends.
create or replace function ledger_chain_lock_id() returns bigint
language sql immutable parallel safe as $$ select hashtextextended('ledger chain', 4992370221) $$;

-- Appends to the chain; the caller holds its lock.
create or replace function ledger_append_seal(
    p_kind text, p_act text, p_upto bigint, p_ids bigint[], p_digests bytea, p_opened bigint[]
) returns void language plpgsql volatile set enable_seqscan = off as $$
declare
    last record;
    number bigint;
    moment timestamptz := ledger_now();
begin
    select id, digest into last from ledger_seal order by id desc limit 1;
    number := coalesce(last.id, 0) + 1;
    insert into ledger_seal (id, sealed_at, kind, act, upto, ids, digests, opened, digest)
    values (number, moment, p_kind, p_act, p_upto, p_ids, p_digests, p_opened,
        sha256(coalesce(last.digest, ''::bytea) || convert_to(format('%s %s %s %s %s %s %s ', number,
            extract(epoch from moment), p_kind, p_act, p_upto, p_ids::text, p_opened::text), 'UTF8')
            || p_digests));
end $$;

-- The rows of a kind behind an id, in the order of their ids; without a digest where not final.
create or replace function ledger_sealable(p_kind text, p_behind bigint, p_upto bigint, p_batch integer)
returns table (id bigint, digest bytea) language plpgsql stable set enable_seqscan = off as $$
begin
    if p_kind = 'execution' then
        return query select e.id,
                case when e.state = 'completed' or e.retired_at is not null
                    then ledger_execution_digest(e) end
            from ledger_taskexecution e
            where e.id > p_behind and e.id <= p_upto order by e.id limit p_batch;
    elsif p_kind = 'event' then
        return query select e.id, ledger_event_digest(e) from ledger_executionevent e
            where e.id > p_behind and e.id <= p_upto order by e.id limit p_batch;
    else
        return query select e.id, ledger_step_digest(e) from ledger_executionstep e
            where e.id > p_behind and e.id <= p_upto order by e.id limit p_batch;
    end if;
end $$;

-- SEAL one batch of a kind ('execution', 'event', 'step'), up to a settled id: how many rows were looked
-- at. 0 where there is nothing, or where somebody else is sealing. The lock comes first, then, in other
-- statements, the rows: a purge holds it too, and so what it has deleted is gone when they are read.
create or replace function ledger_seal_batch(p_kind text, p_upto bigint, p_batch integer)
returns bigint language plpgsql volatile set enable_seqscan = off as $$
declare
    covered bigint;
    reached bigint;
    sealed bigint[];
    proofs bytea;
    left_open bigint[];
begin
    if not pg_try_advisory_xact_lock(ledger_chain_lock_id()) then
        return 0;
    end if;
    -- In the order of the whole index: by its id alone, a kind without a seal would be looked for in all of them.
    covered := coalesce((
        select case when last.kind = p_kind then last.upto end from (
            select kind, upto from ledger_seal
            where act = 'sealed' and (kind, id) <= (p_kind, 9223372036854775807)
            order by kind desc, id desc limit 1
        ) last), 0);
    with looked_at as (
        select id, digest from ledger_sealable(p_kind, covered, p_upto, p_batch)
    ), ended as (
        select id, digest
        from ledger_unsealedexecution u cross join lateral (  -- one by one: a join might read all executions
            select id, ledger_execution_digest(e) as digest from ledger_taskexecution e
            where e.id = u.execution_id and (e.state = 'completed' or e.retired_at is not null) offset 0
        ) e
        where p_kind = 'execution'
        order by id limit p_batch
    ), final as (
        select id, digest from looked_at where digest is not null union all select id, digest from ended
    )
    select greatest(covered, (select max(id) from looked_at)),
        coalesce(array_agg(id order by id), '{}'), coalesce(string_agg(digest, '' order by id), ''),
        coalesce((select array_agg(id order by id) from looked_at where digest is null), '{}')
        into reached, sealed, proofs, left_open from final;
    if reached = covered and sealed = '{}' then
        return 0;
    end if;
    perform ledger_append_seal(p_kind, 'sealed', reached, sealed, proofs, left_open);
    delete from ledger_unsealedexecution where p_kind = 'execution' and execution_id = any(sealed);
    insert into ledger_unsealedexecution (execution_id) select unnest(left_open);
    return cardinality(sealed) + cardinality(left_open);
end $$;

-- Seals that rows were purged; the caller has deleted them, and holds the chain's lock.
create or replace function ledger_seal_purge(p_executions bigint[], p_events bigint[], p_steps bigint[])
returns void language plpgsql volatile set enable_seqscan = off as $$
begin
    if p_events <> '{}' then
        perform ledger_append_seal('event', 'purged', 0, p_events, '', '{}');
    end if;
    if p_steps <> '{}' then
        perform ledger_append_seal('step', 'purged', 0, p_steps, '', '{}');
    end if;
    if p_executions <> '{}' then
        perform ledger_append_seal('execution', 'purged', 0, p_executions, '', '{}');
    end if;
    delete from ledger_unsealedexecution where execution_id = any(p_executions);
end $$;
