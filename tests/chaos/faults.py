"""What goes wrong, one function each. A fault is given the world and a source of chance, does its
harm once, and returns whether it found something to harm. What stays broken is healed at the end of
the episode (``heal``)."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.world import VISIBILITY_SECONDS, Setting, World

Inject = Callable[[World, random.Random], bool]


@dataclass(frozen=True)
class Fault:
    name: str
    promise: str
    """What holds all the same."""
    shown_by: str
    """The test under ``tests/`` that shows it alone."""
    inject: Inject | None = None
    """None where the messages themselves are the fault."""
    nuisance: str = "sleep=0.3"
    """What some executions are told to do on their first attempt; see ``tasks.misbehave``."""
    every: int = 4
    """Each so many."""
    options: tuple[tuple[str, float], ...] = ()
    """Options of those messages."""
    copies: int = 2
    """How often each message is published."""
    most: int = 1000
    """How often it strikes at most in an episode: what costs seconds strikes seldom."""
    is_harmless: bool = False
    """No attempt ends but by its own completion: nothing runs again, and nothing is held."""
    valkey_loses: bool = False
    """Valkey hands a message out before anybody has noted that it is out, and may lose it: then it
    is published again, and counted."""
    acknowledges: bool = False
    """Celery acknowledges what it ended: the ledger's record tells that it must be published
    again."""
    pools: tuple[str, ...] = ("prefork", "threads")
    brokers: tuple[str, ...] = ("rabbitmq", "valkey")

    def occurs_in(self, setting: Setting) -> bool:
        return setting.broker in self.brokers and setting.pool in self.pools

    @property
    def is_any(self) -> bool:
        return bool(self.inject or self.nuisance or self.copies > 2)


def kill_a_pool_child(world: World, chance: random.Random) -> bool:
    children = [(worker, pid) for worker in world.workers for pid in worker.children]
    if children:
        worker, pid = chance.choice(children)
        worker.kill_child(pid)
    return bool(children)


def kill_a_worker(world: World, chance: random.Random) -> bool:
    chance.choice(world.workers).kill()
    world.replace_dead_workers()
    return True


def kill_a_main_process(world: World, chance: random.Random) -> bool:
    worker = chance.choice(world.workers)
    worker.kill_main()
    time.sleep(0.2)  # its children go on for as long
    worker.kill()
    world.replace_dead_workers()
    return True


def warm_shutdown(world: World, chance: random.Random) -> bool:
    return _shut_down(world, chance, signal.SIGTERM)


def cold_shutdown(world: World, chance: random.Random) -> bool:
    return _shut_down(world, chance, signal.SIGQUIT)


def _shut_down(world: World, chance: random.Random, how: signal.Signals) -> bool:
    world.replace_dead_workers()
    chance.choice(world.workers).process.send_signal(how)
    return True


BODIES = "application_name <> 'chaos-admin' and datname = 'chaos' and pid <> pg_backend_pid()"
RUN_LOCKS = """pid in (
    select pid from pg_locks where locktype = 'advisory' and granted
) and backend_xid is null and state = 'idle in transaction'"""


def terminate_a_body(world: World, chance: random.Random) -> bool:
    """The connection that the body writes on."""
    return bool(
        world.sql(
            f"select pg_terminate_backend(pid) from pg_stat_activity where {BODIES} "
            f"and state <> 'idle' and not ({RUN_LOCKS}) order by random() limit 2"
        )
    )


def terminate_a_run_lock(world: World, chance: random.Random) -> bool:
    """The connection that only holds a lock while the body works elsewhere."""
    return bool(
        world.sql(
            f"select pg_terminate_backend(pid) from pg_stat_activity where {BODIES} "
            f"and {RUN_LOCKS} order by random() limit 2"
        )
    )


def cancel_statements(world: World, chance: random.Random) -> bool:
    """What statement_timeout does: SQLSTATE 57014, on a connection that lives on."""
    return bool(
        world.sql(
            f"select pg_cancel_backend(pid) from pg_stat_activity where {BODIES} "
            "and state = 'active'"
        )
    )


def disk_full(world: World, chance: random.Random) -> bool:
    """Not a byte is left for the effects' table. Where nothing may be mounted, a trigger says so
    with the same SQLSTATE, 53100."""
    if world.disk.mounted:
        world.disk.fill()
        time.sleep(0.3)
        world.disk.free()
        return True
    world.sql(
        "create or replace function chaos_full() returns trigger language plpgsql as $$ begin "
        "raise exception 'could not extend file: No space left on device' using errcode = '53100';"
        " end $$"
    )
    world.sql(
        "create or replace trigger chaos_full before insert on testapp_effect "
        "for each row execute function chaos_full()"
    )
    time.sleep(0.3)
    world.sql("drop trigger chaos_full on testapp_effect")
    return True


def restart_the_database(world: World, chance: random.Random) -> bool:
    world.restart_postgres(kill_postmaster=False)
    return True


def kill_the_postmaster(world: World, chance: random.Random) -> bool:
    world.restart_postgres(kill_postmaster=True)
    return True


def cut_the_database(world: World, chance: random.Random) -> bool:
    return bool(world.database_proxy.cut_all())


def cut_in_a_commit(world: World, chance: random.Random) -> bool:
    """The client never learns whether it committed; sometimes it did, sometimes not."""
    before = world.database_proxy.cuts
    cut = chance.choice([world.database_proxy.cut_after, world.database_proxy.cut_before])
    cut(chance.choice([b"ledger_complete", b"ledger_complete", b"ledger_claim"]), 3)
    time.sleep(0.2)
    return world.database_proxy.cuts > before


def drop_broker_connections(world: World, chance: random.Random) -> bool:
    assert world.setting is not None
    return bool(world.broker_proxies[world.setting.broker].cut_all())


def kill_the_broker(world: World, chance: random.Random) -> bool:
    world.restart_broker()
    return True


def the_bank_breaks(world: World, chance: random.Random) -> bool:
    world.bank.misbehave(
        {"fault": "drop_after", "probability": 0.1},
        {"fault": "drop_before", "probability": 0.1},
        {"fault": "error_after", "probability": 0.1},
        {"fault": "error_before", "probability": 0.1},
        {"fault": "reply_twice", "probability": 0.1},
        {"fault": "delay_before=0.2", "probability": 0.1},
        seed=chance.randrange(1 << 30),
    )
    time.sleep(0.5)
    return any(rule["struck"] for rule in world.bank.faults()["rules"])


def kill_the_bank(world: World, chance: random.Random) -> bool:
    world.bank.kill()
    time.sleep(0.2)
    world.bank.start()
    return True


def move_the_clock(world: World, chance: random.Random) -> bool:
    minutes = chance.choice([-30, -5, 5, 30])
    world.sql(
        "create or replace function ledger_now() returns timestamptz language sql volatile "
        f"parallel safe as $$ select clock_timestamp() + interval '{minutes} minutes' $$"
    )
    time.sleep(0.3)
    return True


KILLED = "ledger/workers/test_killed.py::"
OUTAGES = "ledger/workers/test_database_outages.py::"
SHUTDOWNS = "ledger/workers/test_shutdowns.py::"
DUPLICATES = "ledger/workers/test_duplicates.py::"
FAILURES = "ledger/workers/test_failures.py::"
FAILED = f"{FAILURES}test_what_failed_for_good_runs_when_it_is_published_again"
BROKER = (
    "ledger/workers/test_broker_outages.py::"
    "test_a_broker_lost_in_the_body_delivers_again_and_is_answered"
)
LIMITS = "ledger/workers/test_time_limits.py::"

ALL = (
    Fault(
        "no fault", "what is published twice takes effect once",
        f"{DUPLICATES}test_every_publisher_of_the_same_call_gets_the_one_result",
        nuisance="", is_harmless=True,
    ),
    Fault(
        "SIGKILL of a pool child", "its message comes back, and another runs it",
        f"{KILLED}test_a_worker_killed_before_the_commit_is_taken_over",
        kill_a_pool_child, pools=("prefork",),
    ),
    Fault(
        "SIGKILL of a worker", "what it was at is taken over",
        f"{KILLED}test_a_worker_killed_after_the_commit_replays_its_result",
        kill_a_worker, most=3, valkey_loses=True,
    ),
    Fault(
        "SIGKILL of a main process", "what its children still do is done once",
        f"{KILLED}test_the_main_process_killed_alone_leaves_one_effect",
        kill_a_main_process, most=3, valkey_loses=True, pools=("prefork",),
    ),
    Fault(
        "warm shutdown", "what it has begun is done, what it has not is given back",
        f"{SHUTDOWNS}test_a_warm_shutdown_finishes_what_it_is_at",
        warm_shutdown, most=3, valkey_loses=True,
    ),
    Fault(
        "cold shutdown", "what it was at is given back",
        f"{SHUTDOWNS}test_a_cold_shutdown_gives_back_what_it_was_at",
        cold_shutdown, most=3, valkey_loses=True, pools=("prefork",),
    ),
    Fault(
        "hard time limit", "what it ended is on record, and runs when it is published again",
        f"{LIMITS}test_a_hard_time_limit_is_found_by_recovery_and_it_may_run_again",
        nuisance="sleep=30", every=15, options=(("time_limit", 2),), copies=1, acknowledges=True,
        pools=("prefork",),
    ),
    Fault(
        "soft time limit", "it is a failure like any other",
        f"{LIMITS}test_a_soft_time_limit_is_a_failure_and_it_may_run_again",
        nuisance="sleep=30", every=15, options=(("soft_time_limit", 2), ("time_limit", 25)),
        pools=("prefork",),
    ),
    Fault(
        "out of memory", "a MemoryError, which ends the whole worker, is a failure like any other",
        f"{SHUTDOWNS}test_a_body_that_runs_out_of_memory_may_run_again",
        nuisance="memory", every=15, pools=("prefork",),
    ),
    Fault(
        "killed for its memory", "a body that the system kills is taken over",
        f"{KILLED}test_a_worker_killed_before_the_commit_is_taken_over",
        nuisance="killed", pools=("prefork",),
    ),
    Fault(
        "replaced for its memory", "a process that Celery replaces leaves nothing undone",
        f"{SHUTDOWNS}test_a_pool_process_replaced_for_its_memory_has_done_its_work",
        nuisance="greedy", every=15, is_harmless=True, pools=("prefork",),
    ),
    Fault(
        "retry before the ack", "the copy waits for the run that published it",
        f"{FAILURES}test_what_fails_twice_and_then_succeeds_has_one_effect",
        nuisance="retry",
    ),
    Fault(
        "fifty deliveries at once", "one runs, the others are answered",
        f"{DUPLICATES}test_fifty_deliveries_of_one_message_at_once_have_one_effect",
        nuisance="", every=10, copies=50, is_harmless=True,
    ),
    Fault(
        "visibility timeout shorter than the task", "what is delivered again meanwhile waits",
        f"{KILLED}test_a_body_that_outlasts_the_visibility_timeout_runs_once",
        nuisance=f"sleep={VISIBILITY_SECONDS + 2}", every=30, is_harmless=True,
        brokers=("valkey",),
    ),
    Fault(
        "body's connection terminated", "its effects are rolled back, and it runs again",
        f"{OUTAGES}test_a_connection_lost_in_the_body_is_no_failure",
        terminate_a_body,
    ),
    Fault(
        "lock's connection terminated", "its end is recorded on a new one, if nobody took over",
        "ledger/guarantees/test_lost_locks.py::"
        "test_a_body_whose_lock_was_lost_completes_on_a_new_connection",
        terminate_a_run_lock,
    ),
    Fault(
        "statements cancelled", "a statement timeout is a failure like any other",
        FAILED,
        cancel_statements,
    ),
    Fault(
        "disk full", "what finds no space is rolled back, and runs again",
        FAILED,
        disk_full,
    ),
    Fault(
        "database restarted at once", "no message is lost, and no effect",
        f"{OUTAGES}test_a_message_in_its_body_outlives_a_restart_of_the_database",
        restart_the_database, most=2,
    ),
    Fault(
        "SIGKILL of the postmaster", "a claim that it forgets is forgotten with its effects",
        f"{OUTAGES}test_a_body_ended_by_a_crash_of_the_database_has_one_effect",
        kill_the_postmaster, most=2,
    ),
    Fault(
        "database connections cut", "all of them at once cost nothing",
        f"{OUTAGES}test_a_connection_lost_after_the_body_is_no_failure",
        cut_the_database,
    ),
    Fault(
        "cut in the middle of a commit", "a commit whose answer is lost is found",
        f"{OUTAGES}test_a_commit_whose_answer_is_lost_is_found_and_not_repeated",
        cut_in_a_commit,
    ),
    Fault(
        "broker connections dropped", "what is delivered again is answered",
        BROKER,
        drop_broker_connections, valkey_loses=True,
    ),
    Fault(
        "SIGKILL of the broker", "what it has confirmed it delivers after its restart",
        BROKER,
        kill_the_broker, most=1, valkey_loses=True,
    ),
    Fault(
        "the bank breaks", "in doubt it is asked again with the same key, or held",
        "payroll/test_bank_guarantees.py::"
        "test_the_tables_of_the_documents_are_what_a_fresh_run_finds",
        the_bank_breaks,
    ),
    Fault(
        "SIGKILL of the bank", "its book decides, not its answer",
        "payroll/bank/test_crashes.py::"
        "test_a_bank_killed_again_and_again_under_load_books_each_key_once",
        kill_the_bank, most=5,
    ),
    Fault(
        "clock set forward and back", "no guarantee rests on the time",
        f"{DUPLICATES}test_a_clock_set_forward_and_back_changes_no_answer",
        move_the_clock, is_harmless=True,
    ),
)  # fmt: skip


def heal(world: World) -> None:
    """Undo what a fault leaves broken, and have the workers back."""
    world.database_proxy.behave()
    world.bank.start()
    world.bank.misbehave()
    world.sql(
        "create or replace function ledger_now() returns timestamptz language sql volatile "
        "parallel safe as $$ select clock_timestamp() $$"
    )
    world.replace_dead_workers()
