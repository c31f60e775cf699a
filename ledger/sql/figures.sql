-- Figures for those who watch: exact, and cheap however long the history is.
--
-- A total is what was counted up to a mark (ledger_tally), plus the rows behind the mark, one by one; what ran
-- when is rolled up to the same mark (ledger_rollup). The sweep moves the mark, and the purge deletes
-- nothing behind it, so a total never goes down. Nothing of it costs a claim or a completion anything.

-- TOTALS by task: 'completed' executions, and events by kind. The mark and the rows behind it are read in
-- the snapshot of the calling query, which a stable function shares: between two, a sweep could come.
create or replace function ledger_totals()
returns table (task_name varchar, outcome varchar, total bigint)
language plpgsql stable set plan_cache_mode = force_custom_plan as $$
declare
    mark ledger_tallymark;
begin
    select * into mark from ledger_tallymark;
    return query
    select part.task_name, part.outcome, sum(part.n)::bigint from (
        select t.task_name, t.outcome, t.total as n from ledger_tally t
        union all
        select x.task_name, 'completed', count(*) from ledger_taskexecution x
            where x.id > coalesce(mark.execution, 0) and x.completed_at is not null group by 1
        union all
        select x.task_name, 'completed', count(*) from ledger_taskexecution x
            where x.id = any(mark.unfinished) and x.completed_at is not null group by 1
        union all
        select x.task_name, e.kind, count(*) from ledger_executionevent e
            join ledger_taskexecution x on x.id = e.execution_id
            where e.id > coalesce(mark.event, 0) group by 1, 2
    ) part group by 1, 2;
end $$;

-- A duration's bin: each ends 5 % higher than the one before it, so that its middle (ledger_bin_middle, in
-- seconds) is within 2.5 % of all that is in it. Below a tenth of a millisecond there is but one.
create or replace function ledger_bin(p_took interval) returns smallint
language sql immutable parallel safe as $$
    select ceil(ln(greatest(extract(epoch from p_took)::float8, 0.0001)) / ln(1.05))::smallint
$$;

create or replace function ledger_bin_middle(p_bin smallint) returns double precision
language sql immutable parallel safe as $$ select 2 * 1.05 ^ p_bin / (1 + 1.05) $$;

-- What is not rolled up yet of a range: executions by when they were claimed, and duplicates ('skipped') by
-- when they were answered. A completed one has its duration's bin, from the beginning of the attempt that did
-- it; one that a person released as completed has none.
create or replace function ledger_not_rolled_up(p_since timestamptz, p_until timestamptz)
returns table (at timestamptz, task_name varchar, outcome varchar, bin smallint)
language plpgsql stable set plan_cache_mode = force_custom_plan as $$
declare
    mark ledger_tallymark;
begin
    select * into mark from ledger_tallymark;
    return query
    select x.claimed_at, x.task_name, x.state,
            case when x.completed_at is not null and not exists (
                    select from ledger_executionevent e where e.execution_id = x.id and e.kind = 'released')
                then ledger_bin(x.completed_at - x.started_at) end
        from (
            select * from ledger_taskexecution where id > coalesce(mark.execution, 0)
            union all
            select * from ledger_taskexecution where id = any(mark.unfinished)
        ) x
        where x.claimed_at >= p_since and x.claimed_at < p_until
    union all
    select e.at, x.task_name, e.kind, null from ledger_executionevent e
        join ledger_taskexecution x on x.id = e.execution_id
        where e.id > coalesce(mark.event, 0) and e.kind = 'skipped' and e.at >= p_since and e.at < p_until;
end $$;

-- TALLY: move the mark on by one batch, towards ids below which no row can appear any more
-- (ledger_settled); true while there is more to do. What has neither completed nor retired when the mark
-- passes it is kept by id, and counted when it has. Both tables' rows are replaced by ones that add what is
-- new; the rollup's are of quarters of an hour, which every time zone's days consist of, and of UTC's days.
create or replace function ledger_tally_on(p_batch integer, p_execution bigint, p_event bigint)
returns boolean language plpgsql volatile set plan_cache_mode = force_custom_plan as $$
declare
    mark ledger_tallymark;
    to_execution bigint;
    to_event bigint;
begin
    insert into ledger_tallymark (id, execution, event, unfinished) values (1, 0, 0, '{}')
        on conflict do nothing;
    select * into mark from ledger_tallymark for update skip locked;
    if not found then
        return false;  -- another sweep is at it
    end if;
    to_execution := greatest(mark.execution, least(mark.execution + p_batch, p_execution));
    to_event := greatest(mark.event, least(mark.event + p_batch, p_event));
    -- One statement, and so one snapshot: what completes meanwhile is either counted or unfinished.
    with seen as materialized (
        select id, task_name, state, claimed_at, completed_at - started_at as took,
                completed_at is not null as completed, retired_at is not null as retired
            from (
                select * from ledger_taskexecution where id > mark.execution and id <= to_execution
                union all
                select * from ledger_taskexecution where id = any(mark.unfinished)
            ) x
    ), happened as materialized (
        select x.task_name, e.kind, e.at from ledger_executionevent e
            join ledger_taskexecution x on x.id = e.execution_id
            where e.id > mark.event and e.id <= to_event
    ), counted as (
        select task_name, 'completed' as outcome, count(*) as n from seen where completed group by 1
        union all
        select task_name, kind, count(*) from happened group by 1, 2
    ), before as (
        delete from ledger_tally returning task_name, outcome, total
    ), added as (
        insert into ledger_tally (task_name, outcome, total)
            select task_name, outcome, sum(n) from (
                table counted union all table before
            ) both_of_them group by 1, 2
    ), by_hand as (
        select execution_id from ledger_executionevent where kind = 'released'
            and (execution_id > mark.execution and execution_id <= to_execution
                or execution_id = any(mark.unfinished))
    ), final as (
        select claimed_at as at, task_name, state as outcome,
                case when completed and id not in (table by_hand) then ledger_bin(took) end as bin
            from seen where completed or retired
        union all
        select at, task_name, kind, null from happened where kind = 'skipped'
    ), fresh as materialized (
        select minutes, date_bin(make_interval(mins => minutes), at, '2000-01-01 00:00+00') as began,
                task_name, outcome, bin, count(*) as n
            from final, (values (15), (1440)) spans(minutes) group by 1, 2, 3, 4, 5
    ), stale as (
        delete from ledger_rollup r using (select distinct minutes, began from fresh) touched
            where r.minutes = touched.minutes and r.began = touched.began
            returning r.minutes, r.began, r.task_name, r.outcome, r.bins, r.numbers
    ), rolled as (
        insert into ledger_rollup (minutes, began, task_name, outcome, total, bins, numbers)
            select minutes, began, task_name, outcome, sum(n), array_agg(bin), array_agg(n) from (
                select minutes, began, task_name, outcome, bin, sum(n) as n from (
                    table fresh
                    union all
                    select minutes, began, task_name, outcome, b.bin, b.n
                        from stale, unnest(bins, numbers) b(bin, n)
                ) parts group by 1, 2, 3, 4, 5
            ) whole group by 1, 2, 3, 4
    )
    update ledger_tallymark set execution = to_execution, event = to_event,
        unfinished = array(select id from seen where not completed and not retired);
    return to_execution < p_execution or to_event < p_event;
end $$;

-- OPEN executions by task. LOCKS FIRST, THEN ROWS, as everywhere: what was locked when the locks were read
-- may have ended since, but what is running afterwards, for longer than p_grace, and was not locked, has
-- no worker.
create or replace function ledger_open_figures(p_grace interval)
returns table (task_name varchar, running bigint, failed bigint, held bigint, stuck bigint,
    oldest_running double precision, crashes integer)
language plpgsql volatile as $$
declare
    locked bigint[] := array(select lock from ledger_locked());
    moment timestamptz := ledger_now();
begin
    return query
    select x.task_name,
        count(*) filter (where x.state = 'running'),
        count(*) filter (where x.state = 'failed'),
        count(*) filter (where x.state = 'held'),
        count(*) filter (where x.state = 'running' and x.started_at < moment - p_grace
            and ledger_lock_id(x.key) <> all(locked)),
        coalesce(extract(epoch from moment - min(x.started_at) filter (where x.state = 'running')), 0)::float,
        max(x.crashes)
    from ledger_taskexecution x where x.completed_at is null and x.retired_at is null group by 1;
end $$;

-- BACKLOG, in seconds and rows. Sizes are counted up to 10,000, and beyond that what autovacuum last found.
create or replace function ledger_backlog(
    p_retention interval, out live bigint, out history bigint, out unpublished bigint,
    out sweep_lag double precision, out outbox_lag double precision
) language plpgsql volatile set enable_seqscan = off as $$
declare
    moment timestamptz := ledger_now();
    expired timestamptz;
    outlived timestamptz;
begin
    select count(*) into live from (
        select from ledger_taskexecution where retired_at is null limit 10001) few;
    select count(*) into history from (
        select from ledger_taskexecution where retired_at is not null limit 10001) few;
    select count(*) into unpublished from (
        select from ledger_outboxmessage where published_at is null limit 10001) few;
    if live > 10000 then
        live := greatest(live, (select reltuples from pg_class
            where oid = 'ledger_one_live_row_per_key'::regclass));
    end if;
    if history > 10000 then
        history := greatest(history, (select reltuples from pg_class where oid = 'ledger_history'::regclass));
    end if;
    select expires_at into expired from ledger_taskexecution
        where retired_at is null and expires_at is not null and state in ('completed', 'failed')
        order by expires_at limit 1;
    select retired_at into outlived from ledger_taskexecution x
        where retired_at is not null and not exists (select from ledger_outboxmessage m
            where m.execution_id = x.id and m.published_at is null)
        order by retired_at limit 1;
    sweep_lag := greatest(0, extract(epoch from moment - expired),
        extract(epoch from moment - p_retention - outlived));
    outbox_lag := greatest(0, extract(epoch from moment -
        (select min(created_at) from ledger_outboxmessage where published_at is null)));
end $$;
