-- What others read: stable names over the ledger's tables, one row for one thing each. docs/reporting.md
-- has questions and answers; the comments below are what psql's \d+ shows.
--
-- No view but ledger_run_details shows arguments, results or the text of errors, which may hold salaries
-- and account numbers. Days are days of the session's time zone: SET TimeZone before you ask.
--
-- A limited range of claimed_at, at or day is found by index, whatever the history's length: ledger_daily_summary
-- looks at each day for itself, and ledger_task_health has a row for each of a few spans of days.

-- Its condition is true of every row. It lets a condition on the key use the two indexes that have it, which
-- are partial: one of live rows, one of retired ones. Whoever asks for a key should ask this view.
create or replace view ledger_run_history as
select e.id as execution_id, e.key, e.task_name, e.period, e.guarantee, e.state, e.attempt as attempts,
    e.task_id, e.root_id, e.worker, e.claimed_at, e.started_at, e.completed_at,
    round(extract(epoch from e.completed_at - e.started_at), 3) as seconds,
    e.expires_at, e.retired_at, e.retired_reason,
    case when e.error = 'its worker is gone' then e.error
        else substring(e.error from '^[A-Za-z_][A-Za-z0-9_.]*') end as error_type,
    (select count(*) from ledger_executionevent v where v.execution_id = e.id and v.kind = 'skipped')
        as duplicates
from ledger_taskexecution e
where e.retired_at is null or e.retired_at is not null;

comment on view ledger_run_history is 'One row per execution, retired or not.';
comment on column ledger_run_history.execution_id is 'The execution''s number; later ones are higher.';
comment on column ledger_run_history.key is 'What makes two calls the same: the task''s name, a hash of the arguments, and the period where there is one.';
comment on column ledger_run_history.task_name is 'The Celery task''s name.';
comment on column ledger_run_history.period is 'Of a date-based key: a day, hour, ISO week or month, as text; null otherwise.';
comment on column ledger_run_history.guarantee is 'exactly_once, at_least_once or at_most_once.';
comment on column ledger_run_history.state is 'running, completed, failed or held.';
comment on column ledger_run_history.attempts is 'How often its body was begun.';
comment on column ledger_run_history.task_id is 'Id of the Celery message of the latest attempt.';
comment on column ledger_run_history.root_id is 'Id of the message that the canvas began with.';
comment on column ledger_run_history.worker is 'Who ran the latest attempt.';
comment on column ledger_run_history.claimed_at is 'When it was first claimed.';
comment on column ledger_run_history.started_at is 'When the latest attempt began.';
comment on column ledger_run_history.completed_at is 'When it completed; null until then.';
comment on column ledger_run_history.seconds is 'Duration of the attempt that completed; where a person completed it, until then.';
comment on column ledger_run_history.expires_at is 'Until when duplicates are answered; null: for ever.';
comment on column ledger_run_history.retired_at is 'When it stopped being live: expired, cleared or released; null while live.';
comment on column ledger_run_history.retired_reason is 'Why; empty while live.';
comment on column ledger_run_history.error_type is 'Class of the latest attempt''s exception, without its text; null without one.';
comment on column ledger_run_history.duplicates is 'How many duplicates it answered.';

create or replace view ledger_attempts as
select e.execution_id, n.attempt, e.task_name, e.key,
    case when n.attempt = e.attempts then e.started_at when n.attempt = 1 then e.claimed_at
        else taken.at end as started_at,
    case when n.attempt = e.attempts and e.state = 'completed' then e.completed_at else ended.at end
        as ended_at,
    case when n.attempt = e.attempts and e.state in ('completed', 'running') then e.state
        else coalesce(ended.kind, 'unknown') end as outcome,
    case when n.attempt = e.attempts then e.worker else coalesce(ended.worker, taken.worker) end as worker,
    case when n.attempt = e.attempts then e.task_id else coalesce(ended.task_id, taken.task_id) end as task_id,
    case when ended.kind = 'failed' then substring(ended.reason from '^[A-Za-z_][A-Za-z0-9_.]*') end
        as error_type
from ledger_run_history e
cross join lateral generate_series(1, e.attempts) n(attempt)
left join lateral (
    select v.kind, v.at, v.worker, v.task_id, v.reason from ledger_executionevent v
    where v.execution_id = e.execution_id and v.kind in ('failed', 'abandoned') and v.attempt = n.attempt
    order by v.id desc limit 1
) ended on n.attempt < e.attempts or e.state not in ('completed', 'running')
left join lateral (
    select v.at, v.worker, v.task_id from ledger_executionevent v
    where v.execution_id = e.execution_id and v.kind = 'taken_over' and v.attempt = n.attempt
    order by v.id desc limit 1
) taken on n.attempt between 2 and e.attempts - 1;

comment on view ledger_attempts is 'One row per attempt of an execution.';
comment on column ledger_attempts.execution_id is 'The execution.';
comment on column ledger_attempts.attempt is 'Its number; the first is 1.';
comment on column ledger_attempts.task_name is 'The Celery task''s name.';
comment on column ledger_attempts.key is 'The execution''s key.';
comment on column ledger_attempts.started_at is 'When its body began; null for one in the middle that followed a failure.';
comment on column ledger_attempts.ended_at is 'When it completed, failed, or was found without a worker; null while it runs.';
comment on column ledger_attempts.outcome is 'completed, failed, abandoned (its worker was lost), running, or unknown.';
comment on column ledger_attempts.worker is 'Who ran it.';
comment on column ledger_attempts.task_id is 'Id of the Celery message.';
comment on column ledger_attempts.error_type is 'Class of its exception where it failed.';

create or replace view ledger_duplicates as
select v.id as event_id, v.at, v.execution_id, e.task_name, e.key, e.period,
    v.task_id, v.task_id = e.task_id as same_message, v.worker,
    round(extract(epoch from v.at - e.completed_at), 3) as seconds_after
from ledger_executionevent v join ledger_run_history e using (execution_id)
where v.kind = 'skipped';

comment on view ledger_duplicates is 'One row per delivery that was answered with a stored result instead of being run.';
comment on column ledger_duplicates.event_id is 'The event''s number; later ones are higher.';
comment on column ledger_duplicates.at is 'When it was answered.';
comment on column ledger_duplicates.execution_id is 'The execution that answered it.';
comment on column ledger_duplicates.task_name is 'The Celery task''s name.';
comment on column ledger_duplicates.key is 'The key that both have.';
comment on column ledger_duplicates.period is 'The execution''s period.';
comment on column ledger_duplicates.task_id is 'Id of the duplicate''s Celery message.';
comment on column ledger_duplicates.same_message is 'True: the broker delivered one message again. False: it was published twice.';
comment on column ledger_duplicates.worker is 'Who answered it.';
comment on column ledger_duplicates.seconds_after is 'Seconds since the execution completed.';

create or replace view ledger_decisions as
select v.id as event_id, v.at, v.kind as decision, v.actor, v.reason, v.execution_id, e.task_name, e.key
from ledger_executionevent v join ledger_run_history e using (execution_id)
where v.kind in ('released', 'retired', 'recovered', 'published', 'discarded');

comment on view ledger_decisions is 'One row per decision of a person about an execution.';
comment on column ledger_decisions.event_id is 'The event''s number; later ones are higher.';
comment on column ledger_decisions.at is 'When it was made.';
comment on column ledger_decisions.decision is 'released (a held one), retired (cleared, to run again), recovered, published (again), or discarded (a follow-up given up).';
comment on column ledger_decisions.actor is 'Who made it, as they or their login said.';
comment on column ledger_decisions.reason is 'Why; of a released one first as what.';
comment on column ledger_decisions.execution_id is 'The execution.';
comment on column ledger_decisions.task_name is 'The Celery task''s name.';
comment on column ledger_decisions.key is 'The execution''s key.';

-- Each day by itself, so that a condition on the day is one on the loop, and no sort is larger than a day. It
-- begins with the day of the lowest ids: an index on the time would find the first claim, and cost every run.
create or replace view ledger_daily_summary as
select days.day, happened.*
from (
    select day::date from generate_series(
        (select min(claimed_at) from (
            select claimed_at from ledger_taskexecution order by id limit 100
        ) oldest)::date,
        (select ledger_now())::date, interval '1 day') day
) days
cross join lateral (
    select task_name,
        count(*) filter (where kind = 'claimed') as executions,
        count(*) filter (where state = 'completed') as completed,
        count(*) filter (where state = 'failed') as failed,
        count(*) filter (where state = 'held') as held,
        count(*) filter (where state = 'running') as running,
        count(*) filter (where attempt > 1) as retried,
        count(*) filter (where kind = 'skipped') as duplicates,
        count(*) filter (where kind = 'failed') as failures,
        count(*) filter (where kind = 'abandoned') as workers_lost,
        round(percentile_cont(0.5) within group (order by seconds)::numeric, 3) as p50_seconds
    from (
        select e.task_name, 'claimed' as kind, e.state, e.attempt,
            date_part('epoch', e.completed_at - e.started_at) as seconds
        from ledger_taskexecution e
        where e.claimed_at >= days.day::timestamptz and e.claimed_at < (days.day + 1)::timestamptz
        union all
        select e.task_name, v.kind, null, null, null
        from ledger_executionevent v join ledger_taskexecution e on e.id = v.execution_id
        where v.at >= days.day::timestamptz and v.at < (days.day + 1)::timestamptz
            and v.kind in ('skipped', 'failed', 'abandoned')
    ) either
    group by task_name
) happened;

comment on view ledger_daily_summary is 'One row per day and task: what was claimed that day and how it stands now, and what happened that day.';
comment on column ledger_daily_summary.day is 'A day of the session''s time zone.';
comment on column ledger_daily_summary.task_name is 'The Celery task''s name.';
comment on column ledger_daily_summary.executions is 'Executions first claimed that day.';
comment on column ledger_daily_summary.completed is 'Those of them that are completed now.';
comment on column ledger_daily_summary.failed is 'Those that are failed now.';
comment on column ledger_daily_summary.held is 'Those that are held now.';
comment on column ledger_daily_summary.running is 'Those that are running now.';
comment on column ledger_daily_summary.retried is 'Those that took more than one attempt.';
comment on column ledger_daily_summary.duplicates is 'Duplicates answered that day.';
comment on column ledger_daily_summary.failures is 'Attempts that failed that day.';
comment on column ledger_daily_summary.workers_lost is 'Attempts found without a worker that day.';
comment on column ledger_daily_summary.p50_seconds is 'Median duration of those that completed.';

create or replace function ledger_task_health_between(p_since timestamptz, p_until timestamptz)
returns table (
    task_name text, executions bigint, completed bigint, failed bigint, held bigint, running bigint,
    attempts bigint, success_rate numeric, duplicates bigint, duplicate_rate numeric,
    p50_seconds numeric, p95_seconds numeric, p99_seconds numeric
) language sql stable as $$
    with by_hand as (  -- how long a person took to decide is not how long a task takes
        select distinct d.execution_id from ledger_decisions d
        where d.decision = 'released' and d.at >= p_since and d.at < p_until + interval '30 days'
    ), runs as (
        select r.task_name, count(*) as executions,
            count(*) filter (where r.state = 'completed') as completed,
            count(*) filter (where r.state = 'failed') as failed,
            count(*) filter (where r.state = 'held') as held,
            count(*) filter (where r.state = 'running') as running,
            sum(r.attempts)::bigint as attempts,
            percentile_cont(array[0.5, 0.95, 0.99])
                within group (order by r.seconds::double precision)
                filter (where by_hand.execution_id is null) as seconds
        from ledger_run_history r left join by_hand using (execution_id)
        where r.claimed_at >= p_since and r.claimed_at < p_until
        group by r.task_name
    ), answered as (
        select d.task_name, count(*) as duplicates from ledger_duplicates d
        where d.at >= p_since and d.at < p_until group by d.task_name
    )
    select task_name::text, coalesce(executions, 0), coalesce(completed, 0), coalesce(failed, 0),
        coalesce(held, 0), coalesce(running, 0), coalesce(attempts, 0),
        round(completed::numeric / nullif(completed + failed + held, 0), 4),
        coalesce(duplicates, 0),
        round(coalesce(duplicates, 0)::numeric / (coalesce(duplicates, 0) + coalesce(executions, 0)), 4),
        round(seconds[1]::numeric, 3), round(seconds[2]::numeric, 3), round(seconds[3]::numeric, 3)
    from runs full join answered using (task_name)
$$;

create or replace view ledger_task_health as
select spans.days, health.*
from (values (1), (7), (30), (90), (365)) spans(days)
cross join lateral ledger_task_health_between(
    (select ledger_now()) - make_interval(days => spans.days), 'infinity') health;

comment on view ledger_task_health is 'One row per task and span: the last 1, 7, 30, 90 and 365 days. Say which: WHERE days = 7. For other spans: ledger_task_health_between(since, until).';
comment on column ledger_task_health.days is 'The span: the last so many times 24 hours.';
comment on column ledger_task_health.task_name is 'The Celery task''s name.';
comment on column ledger_task_health.executions is 'Executions first claimed in the span.';
comment on column ledger_task_health.completed is 'Those of them that are completed now.';
comment on column ledger_task_health.failed is 'Those that are failed now.';
comment on column ledger_task_health.held is 'Those that are held now.';
comment on column ledger_task_health.running is 'Those that are running now.';
comment on column ledger_task_health.attempts is 'How often their bodies were begun.';
comment on column ledger_task_health.success_rate is 'Completed, as a share of those that are not running, from 0 to 1.';
comment on column ledger_task_health.duplicates is 'Duplicates answered in the span.';
comment on column ledger_task_health.duplicate_rate is 'Duplicates, as a share of duplicates and executions, from 0 to 1.';
comment on column ledger_task_health.p50_seconds is 'Median duration of those that completed by themselves.';
comment on column ledger_task_health.p95_seconds is '95 in 100 took no longer.';
comment on column ledger_task_health.p99_seconds is '99 in 100 took no longer.';

-- Whether a running one's worker is alive is whether anybody holds its run lock. A claim takes its lock a
-- moment later, hence the five seconds. Its rows are older than its locks: what ends at that moment may show
-- as stuck once. A replica does not see the locks.
create or replace view ledger_open_items as
select case when e.state = 'held' then 'held'
        when e.started_at < (select ledger_now()) - interval '5 seconds' and not pg_is_in_recovery()
            and ledger_lock_id(e.key) not in (select lock from ledger_locked())
        then 'stuck' else 'running' end as item,
    e.id as execution_id, null::bigint as follow_up_id, e.task_name, e.key, e.attempt as tries,
    coalesce(held.at, e.started_at) as since,
    round(extract(epoch from (select ledger_now()) - coalesce(held.at, e.started_at)), 3) as seconds,
    e.worker, e.task_id, held.reason as detail
from ledger_taskexecution e
left join lateral (
    select v.at, v.reason from ledger_executionevent v
    where v.execution_id = e.id and v.kind = 'held' order by v.id desc limit 1
) held on e.state = 'held'
where e.completed_at is null and e.retired_at is null and e.state in ('running', 'held')
union all
select 'unpublished', m.execution_id, m.id, m.task_name, e.key, m.tries, m.created_at,
    round(extract(epoch from (select ledger_now()) - m.created_at), 3), '', m.task_id,
    substring(m.error from '^[A-Za-z_][A-Za-z0-9_.]*')
from ledger_outboxmessage m join ledger_taskexecution e on e.id = m.execution_id
where m.published_at is null;

comment on view ledger_open_items is 'One row per thing that is not finished: executions that run, are stuck or held, and follow-ups that are not published.';
comment on column ledger_open_items.item is 'running (its worker is alive), stuck (its worker is gone), held (for a person''s decision), or unpublished (a follow-up).';
comment on column ledger_open_items.execution_id is 'The execution; of a follow-up the one that it follows.';
comment on column ledger_open_items.follow_up_id is 'The follow-up; null for an execution.';
comment on column ledger_open_items.task_name is 'The Celery task''s name.';
comment on column ledger_open_items.key is 'The execution''s key.';
comment on column ledger_open_items.tries is 'Attempts of the execution, or tries to publish the follow-up.';
comment on column ledger_open_items.since is 'When the attempt began, was held, or the follow-up was committed.';
comment on column ledger_open_items.seconds is 'How long ago that is.';
comment on column ledger_open_items.worker is 'Who runs it, or ran it last.';
comment on column ledger_open_items.task_id is 'Id of the Celery message.';
comment on column ledger_open_items.detail is 'Why it is held; class of the last error in publishing.';

create or replace view ledger_run_details as
select e.id as execution_id, e.arguments, e.result, e.error
from ledger_taskexecution e;

comment on view ledger_run_details is 'What a call was given and gave: for those only who may see it.';
comment on column ledger_run_details.execution_id is 'The execution.';
comment on column ledger_run_details.arguments is 'Its arguments by name, redacted where the task says so.';
comment on column ledger_run_details.result is 'What it returned.';
comment on column ledger_run_details.error is 'The latest attempt''s exception with its text.';
