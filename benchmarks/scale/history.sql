-- Executions %(first)s to %(last)s of %(rows)s, and what belongs to them: 400 days of a payroll, the
-- newest now. Everything about a row follows from its number, so two builds are the same history.
-- A tenth of the keys is repeated ten times over, as a month's payslips are asked for again.

create temporary table made on commit drop as
select i, of, task, guarantee, ttl, draw, claimed_at, hash,
    'idempotent:' || task || ':' || hash
        || case task when 'payroll.tasks.daily_hours' then ':' || claimed_at::date else '' end as key,
    claimed_at + took as completed_at, claimed_at + took + ttl as expires_at,
    (hashint8(i) & 31) as number, md5(i::text)::uuid as task_id
from (
    select i, of, draw, task, claimed_at,
        case task when 'payroll.tasks.notify_payslip' then 'at_least_once'
            when 'payroll.tasks.financial_transaction' then 'at_most_once' else 'exactly_once' end as guarantee,
        case task when 'payroll.tasks.financial_transaction' then null else interval '72 hours' end as ttl,
        -- What never expires is never asked for anew.
        encode(sha256(convert_to(task || case task when 'payroll.tasks.financial_transaction' then i
            else of end, 'UTF8')), 'hex') as hash,
        make_interval(secs => 0.02 * exp((hashint8(i + 1) & 1023) / 160.0)) as took
    from (
        select i, of,
            case when i between %(rows)s - 40 and %(rows)s - 31 then 60  -- somebody has to decide about these
                else abs(hashint8(i + 2)::bigint) %% 10000 end as draw,
            case when kind < 45 then 'payroll.tasks.process_payroll'
                when kind < 80 then 'payroll.tasks.notify_payslip'
                when kind < 98 then 'payroll.tasks.daily_hours'
                else 'payroll.tasks.financial_transaction' end as task,
            now() - interval '400 days' * ((%(rows)s - i)::float / %(rows)s) - interval '1 minute' as claimed_at
        from (
            select i, i %% greatest(%(rows)s / 10, 1) as of,
                abs(hashint8(i %% greatest(%(rows)s / 10, 1))::bigint) %% 100 as kind
            from generate_series(%(first)s::bigint, %(last)s::bigint) i
        ) numbers
    ) tasks
) times;

insert into ledger_taskexecution
    (id, key, task_name, args_hash, arguments, period, guarantee, state, attempt, crashes, task_id,
     root_id, worker, claimed_at, started_at, completed_at, expires_at, retired_at, retired_reason,
     result, error)
select i, key, task, hash,
    jsonb_build_object('employee_id', of %% 40000, 'year', extract(year from claimed_at),
        'month', extract(month from claimed_at)),
    case task when 'payroll.tasks.daily_hours' then claimed_at::date end, guarantee, state,
    case when draw between 81 and 300 then 2 else 1 end, 0, task_id, task_id, 'celery@payroll-' || number,
    claimed_at, claimed_at, case state when 'completed' then completed_at end,
    case when state in ('completed', 'failed') then expires_at end, retired_at,
    case when retired_at is null then '' when state = 'held' then 'released: paid by hand'
        when draw between 61 and 80 then 'cleared: wrong hours' else 'expired' end,
    case state when 'completed' then
        json_build_object('payslip_id', i, 'gross', (of %% 5000) + 1500.25, 'status', 'completed') end,
    case state when 'failed' then 'ValueError: no pay policy covers this month' else '' end
from (
    select *,
        case state when 'running' then null
            when 'held' then case when claimed_at < now() - interval '20 days' then claimed_at + interval '1 day' end
            else case when draw between 61 and 80 and ttl is not null then completed_at + interval '1 hour'
                when expires_at < now() then expires_at + interval '3 minutes' end end as retired_at
    from (
        select *, case when i > %(rows)s - least(30, %(rows)s / 10) then 'running' when draw = 60 then 'held'
            when draw < 60 then 'failed' else 'completed' end as state
        from made
    ) states
) ends;

insert into ledger_executionevent
    (execution_id, kind, at, attempt, task_id, worker, actor, reason, traceback)
select i, kind, completed_at + interval '1 second', 1, task_id, 'celery@payroll-' || number,
    case kind when 'retired' then 'ana' when 'released' then 'ana' else '' end,
    case kind when 'failed' then 'ValueError: no pay policy covers this month'
        when 'held' then 'it failed and may have taken effect' when 'retired' then 'wrong hours'
        when 'released' then 'retired: paid by hand' else '' end,
    case kind when 'failed' then repeat('  File "payroll/services/gather.py", line 88, in gather' || chr(10), 12)
        else '' end
from made, lateral (
    select 'failed' as kind where draw <= 60 or draw between 81 and 250
    union all select 'held' where draw = 60
    union all select 'released' where draw = 60 and claimed_at < now() - interval '20 days'
    union all select 'retired' where draw between 61 and 80 and ttl is not null
    union all select 'abandoned' where draw between 251 and 300
    union all select 'taken_over' where draw between 251 and 300
    union all select 'skipped' from generate_series(1, 1 + draw %% 2) where draw > 9000
) happened;

insert into ledger_executionstep (execution_id, name, attempt, completed_at, result)
select i, 'employee ' || n, 1, completed_at, '{"payslip_id": 7}'
from made, generate_series(1, 5) n where draw between 301 and 400;

insert into ledger_outboxmessage
    (execution_id, task_name, task_id, message, created_at, published_at, tries, error)
select i, 'payroll.tasks.notify_payslip', md5('follow-up ' || i)::uuid,
    '{"task": "payroll.tasks.notify_payslip", "args": [7], "kwargs": {}}',
    completed_at, completed_at + interval '5 milliseconds', 1, ''
from made where draw between 401 and 1400 and task = 'payroll.tasks.process_payroll';
