"""What goes wrong, one function each. A fault is given the world and a source of chance, does its
harm once, and returns whether it found something to harm. What stays broken is healed at the end of
the episode (``heal``)."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.world import VISIBILITY_SECONDS, World

Inject = Callable[[World, random.Random], bool]


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Inject | None
    """None where the messages themselves are the fault."""
    nuisance: str = ""
    """What every other execution is told to do on its first attempt; see ``tasks.misbehave``."""
    options: tuple[tuple[str, float], ...] = ()
    """Options of those messages."""
    copies: int = 2
    """How often each message is published."""
    may_lose_messages: bool = False
    """Whether the broker itself loses messages: then they are published again, and counted."""
    pools: tuple[str, ...] = ("prefork", "threads")
    brokers: tuple[str, ...] = ("rabbitmq", "valkey")


def nothing(world: World, chance: random.Random) -> bool:
    return True


def kill_a_pool_child(world: World, chance: random.Random) -> bool:
    worker = chance.choice(world.workers)
    children = worker.children
    if not children:
        return False
    worker.kill_child(chance.choice(children))
    return True


def kill_a_worker(world: World, chance: random.Random) -> bool:
    chance.choice(world.workers).kill()
    _replace(world)
    return True


def kill_a_main_process(world: World, chance: random.Random) -> bool:
    worker = chance.choice(world.workers)
    worker.kill_main()
    worker.kill()
    _replace(world)
    return True


def warm_shutdown(world: World, chance: random.Random) -> bool:
    chance.choice(world.workers).process.send_signal(signal.SIGTERM)
    return True


def cold_shutdown(world: World, chance: random.Random) -> bool:
    worker = chance.choice(world.workers)
    worker.process.send_signal(signal.SIGQUIT)
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
    hit = False
    for _ in range(20):
        hit |= bool(
            world.sql(
                f"select pg_cancel_backend(pid) from pg_stat_activity where {BODIES} "
                "and state = 'active'"
            )
        )
    return hit


def disk_full(world: World, chance: random.Random) -> bool:
    """The server refuses to extend the effects' table, as on a full disk: SQLSTATE 53100."""
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
    cut(chance.choice([b"ledger_complete", b"ledger_claim", b"ledger_fail"]), 3)
    time.sleep(0.4)
    return world.database_proxy.cuts > before


def drop_broker_connections(world: World, chance: random.Random) -> bool:
    assert world.setting is not None
    return bool(world.broker_proxies[world.setting.broker].cut_all())


def kill_the_broker(world: World, chance: random.Random) -> bool:
    world.restart_valkey()
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
    return True


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


ALL = (
    Fault("no fault", nothing),
    Fault("SIGKILL of a pool child", kill_a_pool_child, pools=("prefork",)),
    Fault("SIGKILL of a worker", kill_a_worker),
    Fault("SIGKILL of a main process", kill_a_main_process, pools=("prefork",)),
    Fault("warm shutdown", warm_shutdown),
    Fault("cold shutdown", cold_shutdown, pools=("prefork",)),
    Fault(
        "hard time limit", None, "sleep=30", (("time_limit", 5),),
        pools=("prefork",),
    ),
    Fault(
        "soft time limit", None, "sleep=30", (("soft_time_limit", 3), ("time_limit", 25)),
        pools=("prefork",),
    ),
    Fault("out of memory", None, "memory", pools=("prefork",)),
    Fault("retry before the ack", None, "retry"),
    Fault("fifty deliveries at once", None, copies=50),
    Fault(
        "visibility timeout shorter than the task", None, f"sleep={VISIBILITY_SECONDS + 2}",
        brokers=("valkey",),
    ),
    Fault("body's connection terminated", terminate_a_body),
    Fault("lock's connection terminated", terminate_a_run_lock),
    Fault("statements cancelled", cancel_statements),
    Fault("disk full", disk_full),
    Fault("database restarted at once", restart_the_database),
    Fault("SIGKILL of the postmaster", kill_the_postmaster),
    Fault("database connections cut", cut_the_database),
    Fault("cut in the middle of a commit", cut_in_a_commit),
    Fault("broker connections dropped", drop_broker_connections),
    Fault(
        "SIGKILL of the broker", kill_the_broker, may_lose_messages=True, brokers=("valkey",)
    ),
    Fault("the bank breaks", the_bank_breaks),
    Fault("SIGKILL of the bank", kill_the_bank),
    Fault("clock set forward and back", move_the_clock),
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
    _replace(world)


def _replace(world: World) -> None:
    assert world.setting is not None
    world.use(world.setting)
