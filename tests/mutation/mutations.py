"""The list: which lines of the protocol, what they become, and the tests that must not have it.

``tests`` are the quickest that must fail, one is enough. ``old`` must be in the file exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass

SQL = "ledger/sql/functions.sql"
TABLES = "ledger/migrations/0001_initial.py"
EXACTLY = "ledger/guarantees/exactly_once.py"
DURABLE = "ledger/guarantees/durable.py"
MOST = "ledger/guarantees/at_most_once.py"
STORE = "ledger/store.py"
PROTOCOL = "ledger/protocol.py"
OUTBOX = "ledger/outbox.py"
SETTINGS = "core/settings.py"

CLAIMS = "ledger/test_claims.py::"
FENCING = "ledger/test_fencing.py::"
EXPIRY = "ledger/test_expiry.py::"
GUARDS = "ledger/test_guards.py::"
OUTAGES = "ledger/test_lost_connections.py::"
LOST = "ledger/guarantees/test_lost_locks.py::"
STEPS = "ledger/guarantees/test_steps.py::"
OUTBOXES = "ledger/guarantees/test_outbox.py::"


@dataclass(frozen=True)
class Mutation:
    """``name`` says what is broken."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


LOCK = [
    Mutation(
        "a claim does not ask for the lock",
        SQL,
        "    locked boolean := pg_try_advisory_xact_lock(ledger_lock_id(p_key));\n    live record;",
        "    locked boolean := true;\n    live record;",
        (
            f"{CLAIMS}test_a_delivery_never_waits_for_a_claim_that_another_transaction_has_not_committed",
        ),
    ),
    Mutation(
        "a body runs without the lock",
        SQL,
        "    locked boolean := pg_try_advisory_xact_lock(ledger_lock_id(p_key));\n    -- A body",
        "    locked boolean := true;\n    -- A body",
        (f"{CLAIMS}test_a_duplicate_of_a_running_execution_is_told_that_it_is_in_progress",),
    ),
    Mutation(
        "a body with effects elsewhere runs without the lock",
        SQL,
        "    return pg_try_advisory_xact_lock(ledger_lock_id(p_key));",
        "    return true;",
        (
            "ledger/guarantees/test_claims.py::test_the_claim_is_committed_and_locked_before_the_body_runs",
        ),
    ),
    Mutation(
        "lock and read are one statement",
        SQL,
        """\
    locked boolean := pg_try_advisory_xact_lock(ledger_lock_id(p_key));
    -- A body may compute for longer than the server lets a transaction idle.
    ignored text := set_config('idle_in_transaction_session_timeout', '0', true);
    live text[];
begin
    select array[locked::text, id::text, state, attempt::text, crashes::text, args_hash,
                 (expires_at <= ledger_now())::text, result::text]
        into live from ledger_taskexecution where key = p_key and retired_at is null;
""",
        """\
    locked boolean;
    -- A body may compute for longer than the server lets a transaction idle.
    ignored text := set_config('idle_in_transaction_session_timeout', '0', true);
    live text[];
begin
    select array[l.mine::text, id::text, state, attempt::text, crashes::text, args_hash,
                 (expires_at <= ledger_now())::text, result::text]
        into live from (select pg_try_advisory_xact_lock(ledger_lock_id(p_key)) as mine) l
        left join ledger_taskexecution on key = p_key and retired_at is null;
""",
        (
            f"{CLAIMS}test_a_claim_that_was_taken_over_before_its_run_began_answers_from_the_other_run",
        ),
    ),
    Mutation(
        "a run trusts any attempt that it finds running",
        STORE,
        'return self.state == "running" and self.claimed == [self.id, self.attempt]',
        'return self.state == "running" and bool(self.claimed)',
        (f"{CLAIMS}test_a_claim_that_was_taken_over_by_one_who_died_too_is_a_claim_no_more",),
    ),
    Mutation(
        "a claim is known by its attempt alone",
        STORE,
        'return self.state == "running" and self.claimed == [self.id, self.attempt]',
        'return self.state == "running" and bool(self.claimed) and self.claimed[1] == self.attempt',
        (
            f"{CLAIMS}test_a_claim_is_not_recognised_in_the_first_attempt_of_a_new_execution_of_its_key",
        ),
    ),
    Mutation(
        "taking over does not ask for the lock",
        SQL,
        "    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then\n        return null;",
        "    if false then\n        return null;",
        (f"{FENCING}test_neither_taking_over_nor_abandoning_is_possible_while_the_worker_lives",),
    ),
    Mutation(
        "recovery does not ask for the lock",
        SQL,
        "    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then\n        return false;",
        "    if false then\n        return false;",
        (f"{EXPIRY}TestRecover::test_it_leaves_alone_whose_worker_lives",),
    ),
    Mutation(
        "clearing does not ask for the lock",
        SQL,
        """\
p_actor text, p_reason text)
returns text language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
begin
    if not pg_try_advisory_xact_lock(ledger_lock_id(p_key)) then""",
        """\
p_actor text, p_reason text)
returns text language plpgsql volatile set enable_seqscan = off as $$
declare
    live ledger_taskexecution;
begin
    if false then""",
        ("ledger/test_clearing.py::test_what_is_running_cannot_be_cleared",),
    ),
    Mutation(
        "a failure is recorded without the lock",
        SQL,
        "    if locked then\n        update ledger_taskexecution\n            set state = p_state,",
        "    if true then\n        update ledger_taskexecution\n            set state = p_state,",
        (f"{FENCING}test_a_failure_does_not_settle_an_attempt_that_somebody_else_is_running",),
    ),
    Mutation(
        "a failure gives up the lock while somebody only looks",
        SQL,
        "    for look in 1..20 loop",
        "    for look in 1..1 loop",
        ("ledger/test_failing_while_looked_at.py",),
    ),
    Mutation(
        "a child process uses its parent's lock connections",
        "ledger/run_lock.py",
        "    if _kept.idle.pid != os.getpid():",
        "    if False:",
        (
            "ledger/guarantees/test_run_lock.py::test_a_forked_process_has_its_own_and_leaves_its_parents_alone",
        ),
    ),
]

FENCE = [
    Mutation(
        "completing does not look at the attempt",
        SQL,
        "crashes = 0\n        where id = p_id and attempt = p_attempt and state = 'running';",
        "crashes = 0\n        where id = p_id and state = 'running';",
        (f"{FENCING}test_a_run_whose_claim_was_changed_under_it_commits_nothing",),
    ),
    Mutation(
        "completing does not look at the state",
        SQL,
        "crashes = 0\n        where id = p_id and attempt = p_attempt and state = 'running';",
        "crashes = 0\n        where id = p_id and attempt = p_attempt;",
        (f"{FENCING}test_a_run_whose_claim_was_changed_under_it_commits_nothing",),
    ),
    Mutation(
        "completing only reports that the claim was lost",
        SQL,
        "        raise exception 'execution % is no longer running attempt %', p_id, p_attempt",
        "        raise notice 'execution % is no longer running attempt %', p_id, p_attempt",
        (
            f"{FENCING}test_completing_raises_in_the_server_so_that_the_commit_behind_it_commits_nothing",
        ),
    ),
    Mutation(
        "a failure does not look at the attempt",
        SQL,
        " id = p_id and attempt = p_attempt and state = 'running';\n        settled :=",
        " id = p_id and state = 'running';\n        settled :=",
        (f"{FENCING}test_a_failure_of_a_lost_claim_leaves_the_newer_attempt_alone",),
    ),
    Mutation(
        "taking over does not look at the attempt",
        SQL,
        "        where id = p_id and attempt = p_attempt and state = 'running' for update;",
        "        where id = p_id and state = 'running' for update;",
        (f"{FENCING}test_taking_over_is_bound_to_the_attempt_that_was_seen_dead",),
    ),
    Mutation(
        "recovery does not look at the attempt",
        SQL,
        "        where id = p_id and attempt = p_attempt and state = 'running'\n        returning",
        "        where id = p_id and state = 'running'\n        returning",
        (f"{FENCING}test_abandoning_is_bound_to_the_attempt_that_was_seen_dead",),
    ),
    Mutation(
        "a body whose lock was lost completes any attempt",
        DURABLE,
        "            if (now.id, now.attempt) != (live.id, live.attempt):",
        "            if now.id is None:",
        (f"{LOST}TestTakenOver",),
    ),
    Mutation(
        "a step does not look at the claim",
        "ledger/steps.py",
        "        guard(execution)\n        result = function(*args, **kwargs)",
        "        result = function(*args, **kwargs)",
        (
            f"{STEPS}TestLostClaims::test_a_step_of_a_lost_claim_writes_nothing_and_is_not_even_begun",
        ),
    ),
    Mutation(
        "a step does not keep the claim until it commits",
        STORE,
        """"where id = %s and attempt = %s and state = 'running' for share\"""",
        """"where id = %s and attempt = %s and state = 'running'\"""",
        (f"{STEPS}TestLostClaims::test_a_take_over_waits_for_a_steps_commit_and_finds_it_done",),
    ),
    Mutation(
        "a body that was taken over may still send follow-ups",
        OUTBOX,
        """        if execution.guarantee != "exactly_once":\n            guard(execution)\n""",
        "",
        (f"{OUTBOXES}test_a_body_that_was_taken_over_can_send_nothing_any_more",),
    ),
]

ORDER = [
    Mutation(
        "effects commit before the completion",
        STORE,
        '    return sql if joined else f"{sql}; commit"',
        '    return sql if joined else f"commit; {sql}"',
        (f"{FENCING}test_a_run_whose_claim_was_changed_under_it_commits_nothing",),
    ),
    Mutation(
        "an exactly-once body is completed before it runs",
        EXACTLY,
        "            result = call.body()\n",
        '            store.complete(connection, live, "null", call.ttl, joined=joined)\n'
        "            result = call.body()\n",
        (
            "ledger/test_take_over.py::test_the_next_delivery_takes_over_from_a_worker_that_died_in_the_body",
        ),
    ),
    Mutation(
        "a body with effects elsewhere is completed before it runs",
        DURABLE,
        "            result = call.body()\n",
        '            store.complete(line, live, "null", call.ttl, joined=False)\n'
        "            result = call.body()\n",
        ("ledger/guarantees/test_claims.py::test_a_duplicate_is_answered_with_the_stored_result",),
    ),
    Mutation(
        "the claim of effects elsewhere commits asynchronously",
        STORE,
        '        not joined and options.guarantee == "exactly_once",',
        "        not joined,",
        ("ledger/test_durability.py",),
    ),
    Mutation(
        "effects commit asynchronously",
        SQL,
        "        ignored := set_config('synchronous_commit', 'off', true);",
        "        ignored := set_config('synchronous_commit', 'off', false);",
        (
            "ledger/test_round_trips.py::test_the_claim_may_commit_asynchronously_but_never_the_effects",
        ),
    ),
    Mutation(
        "a worker that looks dead is not looked at again",
        PROTOCOL,
        "            time.sleep(SECOND_LOOK)\n",
        "",
        (f"{CLAIMS}test_a_worker_that_looks_dead_is_looked_at_again_before_it_is_taken_over",),
    ),
    Mutation(
        "recovery gives a claim no time to begin its run",
        "ledger/sweep.py",
        "params=[grace])",
        "params=[grace * 0])",
        (f"{EXPIRY}TestRecover::test_it_leaves_a_claim_time_to_begin_its_run",),
    ),
    Mutation(
        "a follow-up is published before the commit",
        OUTBOX,
        "        transaction.on_commit(lambda: _publish_all(execution), execution.database, True)",
        "        _publish_all(execution)",
        (f"{OUTBOXES}test_nothing_is_published_while_the_body_runs",),
    ),
    Mutation(
        "a follow-up is not written down",
        OUTBOX,
        "    connection = connections[execution.database]\n    with transaction.atomic(using="
        "execution.database):\n        if",
        "    transaction.on_commit(lambda: task.apply_async(), execution.database)\n"
        "    return result\n"
        "    connection = connections[execution.database]\n    with transaction.atomic(using="
        "execution.database):\n        if",
        (f"{OUTBOXES}test_it_is_published_right_after_the_commit_and_not_before",),
    ),
]

CRASHES = [
    Mutation(
        "a task may kill its workers for ever",
        SQL,
        "    if live.crashes + 1 > p_max_crashes then",
        "    if false then",
        (
            "ledger/test_take_over.py::TestHolding::test_a_task_that_keeps_killing_its_workers_is_held",
        ),
    ),
    Mutation(
        "crashes that recovery finds do not count",
        SQL,
        "        elsif found and live.crashes > p_max_crashes then",
        "        elsif false then",
        ("ledger/test_take_over.py::TestHolding::test_crashes_found_by_recovery_count_too",),
    ),
    Mutation(
        "a step done is no progress",
        STORE,
        '"update ledger_taskexecution set crashes = 0 where id = %s and crashes > 0"',
        '"select %s"',
        (
            "ledger/guarantees/test_workers.py::TestSteps::"
            "test_killed_at_every_step_it_still_does_each_of_them_once",
        ),
    ),
    Mutation(
        "crashes of long ago count",
        SQL,
        "                crashes = case when p_died then crashes + 1 else 0 end,",
        "                crashes = case when p_died then crashes + 1 else crashes end,",
        ("ledger/test_take_over.py::TestHolding::test_only_crashes_in_a_row_count",),
    ),
    Mutation(
        "at most once, a crash runs it again",
        "ledger/options.py",
        'max_crashes=0 if guarantee == "at_most_once" else max_crashes',
        "max_crashes=max_crashes",
        (f"{LOST}TestHeldMeanwhile",),
    ),
    Mutation(
        "at most once, a crash that recovery finds runs it again",
        SQL,
        "        set state = case guarantee when 'at_most_once' then 'held' else 'failed' end,",
        "        set state = 'failed',",
        ("ledger/test_recovery.py",),
    ),
    Mutation(
        "at most once, a failure runs it again",
        MOST,
        'return "failed" if any(isinstance(reason, safe) for reason in reasons) else "held"',
        'return "failed"',
        (
            "ledger/guarantees/test_failures.py::test_at_most_once_it_is_held_and_no_delivery_runs_it_again",
        ),
    ),
    Mutation(
        "an execution that is not held may be released",
        SQL,
        "    if live.state <> 'held' then",
        "    if live.state = 'completed' then",
        ("ledger/guarantees/test_release.py::TestRefusals::test_what_is_not_held_is_not_released",),
    ),
    Mutation(
        "a lost connection is a failure of the task's",
        EXACTLY,
        "    if progress.connection_lost or (failure is None and isinstance(raised, OUTAGES)):",
        "    if False:",
        (f"{OUTAGES}TestDuringTheRun",),
    ),
    Mutation(
        "a stale connection is not replaced",
        EXACTLY,
        "    connection.close()  # it had gone stale",
        "    raise Unreachable(OUTAGES[0](), began=False)  # it had gone stale",
        (f"{OUTAGES}TestWhileIdle",),
    ),
]

ANSWERS = [
    Mutation(
        "a failure is answered like a completion",
        SQL,
        "        if live.state = 'completed' and live.expired is not true then",
        "        if live.state in ('completed', 'failed') and live.expired is not true then",
        ("ledger/test_bodies.py",),
    ),
    Mutation(
        "a duplicate gets no result",
        PROTOCOL,
        "    value = results.load(result)",
        "    value = None",
        ("ledger/test_results.py::test_a_replay_is_what_a_result_backend_returns",),
    ),
    Mutation(
        "a duplicate is answered although it has expired",
        SQL,
        "        if live.state = 'completed' and live.expired is not true then",
        "        if live.state = 'completed' then",
        (f"{EXPIRY}TestTheTtl::test_an_expired_execution_is_retired_and_run_anew",),
    ),
    Mutation(
        "a hinted duplicate is answered although it has expired",
        SQL,
        "            and (expires_at is null or expires_at > ledger_now());",
        ";",
        (f"{EXPIRY}TestTheTtl::test_an_expired_execution_is_retired_and_run_anew",),
    ),
    Mutation(
        "a skip is not recorded",
        SQL,
        "perform ledger_record(live.id, 'skipped', live.attempt, p_task_id, p_worker);\n"
        "            return array[live.id, 0];",
        "return 0;",
        ("ledger/guarantees/test_claims.py::test_a_duplicate_is_answered_with_the_stored_result",),
    ),
    Mutation(
        "another payload is answered like the same",
        SQL,
        "            if live.args_hash <> p_args_hash then",
        "            if false then",
        (
            "ledger/test_payloads.py::TestAnotherPayloadUnderTheSameKey::test_it_is_refused_once_the_execution_is_completed",
        ),
    ),
    Mutation(
        "another payload waits for the same key's run",
        PROTOCOL,
        "        refuse_other_payload(self.call, live)\n",
        "",
        (
            "ledger/test_payloads.py::TestAnotherPayloadUnderTheSameKey::test_it_is_refused_while_the_execution_runs",
        ),
    ),
    Mutation(
        "a duplicate of a running execution is dropped",
        PROTOCOL,
        "            self.call.delivery.put_back(error)\n        raise error",
        "            raise SkippedInProgress\n        raise error",
        (
            "ledger/test_in_progress.py::test_a_copy_is_left_for_later_and_answers_when_the_run_is_done",
        ),
    ),
    Mutation(
        "a lost claim acknowledges its message",
        "ledger/guarantees/__init__.py",
        '        if guarantee != "at_most_once":',
        "        if False:",
        ("ledger/guarantees/test_workers.py::TestLostClaims",),
    ),
    Mutation(
        "a lost claim is put back at most once, too",
        "ledger/guarantees/__init__.py",
        '        if guarantee != "at_most_once":',
        "        if True:",
        ("ledger/guarantees/test_workers.py::TestLostClaims",),
    ),
    Mutation(
        "putting a message back uses up the task's own retries",
        "ledger/delivery.py",
        "            retries=self.message.retries,",
        "            retries=self.message.retries + 1,",
        (
            "ledger/guarantees/test_in_progress.py::TestAutoretry::test_retry_uses_up_none_of_the_tasks_own",
        ),
    ),
    Mutation(
        "an execution may wait for itself",
        "ledger/guarantees/__init__.py",
        "    refuse_recursion(call)\n",
        "",
        ("ledger/guarantees/test_claims.py::TestNesting::test_a_call_of_itself_is_refused",),
    ),
    Mutation(
        "a message published yesterday runs as today's",
        "ledger/call.py",
        "periods.pinned(self.delivery.headers, kind) or periods.current(kind)",
        "periods.current(kind)",
        ("ledger/test_calls.py",),
    ),
]

HOUSEKEEPING = [
    Mutation(
        "a sweep waits for another sweep",
        SQL,
        "        order by expires_at limit p_batch for update skip locked",
        "        order by expires_at limit p_batch for update",
        (f"{EXPIRY}TestSweep::test_it_does_not_wait_for_another_sweep_and_leaves_it_its_rows",),
    ),
    Mutation(
        "a sweep retires what has not expired",
        SQL,
        "        where retired_at is null and expires_at <= moment and state",
        "        where retired_at is null and state",
        (f"{EXPIRY}TestSweep::test_it_retires_what_has_expired_and_nothing_else",),
    ),
    Mutation(
        "a purge deletes follow-ups that are not published",
        SQL,
        "m.execution_id = x.id and m.published_at is null)",
        "m.execution_id = x.id and false)",
        (f"{OUTBOXES}TestRelay::test_what_is_unpublished_is_not_purged",),
    ),
    Mutation(
        "a purge deletes what no figure has counted",
        SQL,
        "and id <= mark.execution and id <> all(mark.unfinished)",
        "and id <= mark.execution",
        (
            "ledger/metrics/test_metrics.py::TestCounters::test_a_purge_leaves_what_no_sweep_has_counted",
        ),
    ),
    Mutation(
        "a relay waits for what another is publishing",
        STORE,
        '"order by created_at, id limit %s for update skip locked"',
        '"order by created_at, id limit %s for update"',
        (
            f"{OUTBOXES}TestRelay::test_what_somebody_is_publishing_is_neither_waited_for_nor_published_twice",
        ),
    ),
    Mutation(
        "a relay publishes without locking",
        STORE,
        '"order by created_at, id limit %s for update skip locked"',
        '"order by created_at, id limit %s"',
        (f"{OUTBOXES}TestRelay::test_many_at_once_publish_each_message_once",),
    ),
    Mutation(
        "two live rows may have one key",
        TABLES,
        "models.UniqueConstraint(condition=models.Q(('retired_at', None)), fields=('key',)",
        "models.UniqueConstraint(condition=models.Q(('retired_at', None)), fields=('key', 'id')",
        (f"{FENCING}test_one_live_row_per_key_is_the_databases_own_law",),
    ),
    Mutation(
        "an execution may be deleted",
        TABLES,
        "model_name='taskexecution',\n            trigger=pgtrigger.compiler.Trigger("
        "name='never_deleted', sql=pgtrigger.compiler.UpsertTriggerSql(condition=\"WHEN "
        "(current_setting('ledger.purging', true) IS DISTINCT FROM 'on')\"",
        "model_name='taskexecution',\n            trigger=pgtrigger.compiler.Trigger("
        "name='never_deleted', sql=pgtrigger.compiler.UpsertTriggerSql(condition=\"WHEN "
        '(false)"',
        (f"{GUARDS}test_an_execution_is_never_deleted",),
    ),
    Mutation(
        "what is completed may be changed",
        TABLES,
        "OR (OLD.state = 'completed' AND unretired::text <> OLD::text)",
        "",
        (f"{GUARDS}test_an_illegal_change_is_refused",),
    ),
]

SETTING = [
    Mutation(
        "a message is acknowledged before its work is done",
        SETTINGS,
        "CELERY_TASK_ACKS_LATE = True",
        "CELERY_TASK_ACKS_LATE = False",
        ("core/test_workers.py::test_a_killed_worker_gives_its_message_to_another",),
    ),
    Mutation(
        "a message of a killed process is acknowledged",
        SETTINGS,
        "CELERY_TASK_REJECT_ON_WORKER_LOST = True",
        "CELERY_TASK_REJECT_ON_WORKER_LOST = False",
        ("core/test_workers.py::test_a_killed_pool_process_gives_its_message_back",),
    ),
]

MUTATIONS = [*LOCK, *FENCE, *ORDER, *CRASHES, *ANSWERS, *HOUSEKEEPING, *SETTING]
