"""The SQL. One function per verb of the protocol; the races are explained in ``sql/functions.sql``.

Each verb is one round trip on Django's own connection: a query of several statements, which takes
the simple protocol, and so needs no prepared statements and works behind PgBouncer. Values are
quoted by libpq (``_literal``) and the query is handed to it past the driver's cursors: both are
what takes time in the driver. So where Django leaves it to the driver to begin a transaction,
``_send`` does. Django's commit or rollback at the end goes by the transaction status that the
server reports.
"""

from __future__ import annotations

import datetime as dt
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import DatabaseError, InternalError, OperationalError, ProgrammingError
from psycopg import errors, generators
from psycopg.adapt import Transformer
from psycopg.pq import Escaping, ExecStatus, TransactionStatus

from . import readable
from .exceptions import LedgerError, PayloadMismatch

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper as Connection
    from psycopg.pq.abc import Escaping as EscapingProtocol
    from psycopg.pq.abc import PGresult

    from .cache_import.calls import Candidate
    from .call import Call
    from .execution import Execution

CLAIM_LOST = "LDG01"
OTHER_STEPS = "LDG02"
READ_ONLY = "25006"

IDLE = TransactionStatus.IDLE
FAILED = ExecStatus.FATAL_ERROR

_CLAIM = "select ledger_claim(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_TAKE_OVER = "select ledger_take_over(%s, %s, %s, %s, %s, %s, %s)"
_LOCK = "select ledger_lock(%s)"
_STAY = "select ledger_stay(%s)"


Wrote = Sequence[tuple[str, str, str]]
"""Model, primary key and label of each object that an execution wrote."""


class Live(NamedTuple):
    """The live row as read after trying the run lock; ``id`` is None where there is none."""

    claimed: list[int] | None
    """Id and attempt that this delivery claimed; attempt 0: that row answers it; None: neither. The
    attempt alone would not do: a key that was cleared begins again at 1."""
    locked: bool
    id: int | None
    state: str | None
    attempt: int
    crashes: int
    args_hash: str | None
    expired: bool
    result: str | None

    @property
    def is_claimed(self) -> bool:
        return self.state == "running" and self.claimed == [self.id, self.attempt]

    @property
    def is_ours(self) -> bool:
        return self.locked and self.is_claimed

    @property
    def is_answer(self) -> bool:
        return self.state == "completed" and self.claimed == [self.id, 0]

    @property
    def is_orphan(self) -> bool:
        """Running, and yet nobody holds its lock: its worker is gone, or not yet past its claim."""
        return self.locked and self.state == "running"


def claim(connection: Connection, call: Call, *, joined: bool) -> Live:
    """Claim, commit, begin, lock, read: one round trip that leaves the run's transaction open.

    ``joined``: within the transaction that is already open, and that alone will commit the claim.
    """
    options, delivery = call.protected.options, call.delivery
    parameters = (
        call.key,
        delivery.task_name,
        call.identity.args_hash,
        call.readable_arguments(),
        call.period,
        options.guarantee,
        delivery.task_id,
        delivery.root_id,
        delivery.worker,
        options.max_crashes,
        not joined and options.guarantee == "exactly_once",
    )
    try:
        return _claim_and_lock(connection, call, _CLAIM, parameters, joined)
    except DatabaseError as error:
        if _sqlstate(error) != OTHER_STEPS:
            raise
        raise PayloadMismatch(
            f"{call.key} has done steps with other arguments than this call's, which cannot go on "
            "behind them. To do all of it with these, clear it first."
        ) from error


def take_over(connection: Connection, call: Call, orphan: Live, *, joined: bool) -> Live:
    """As ``claim``, for an attempt whose worker is gone."""
    delivery = call.delivery
    parameters = (
        call.key,
        orphan.id,
        orphan.attempt,
        call.protected.options.max_crashes,
        delivery.task_id,
        delivery.root_id,
        delivery.worker,
    )
    return _claim_and_lock(connection, call, _TAKE_OVER, parameters, joined)


def lock_again(connection: Connection, call: Call, mine: Live, *, joined: bool) -> Live:
    """Try the run lock once more for an attempt that this delivery has already claimed."""
    sql = "select array[%s, %s]::bigint[]"
    return _claim_and_lock(connection, call, sql, (mine.id, mine.attempt), joined)


def complete(
    connection: Connection,
    live: Live,
    result: str,
    ttl: dt.timedelta | None,
    wrote: Wrote = (),
    *,
    joined: bool,
) -> None:
    """Complete and commit, effects included, in one round trip. Where the claim was lost the server
    raises, so that the commit behind it cannot happen."""
    sql, objects = _remembering("select ledger_complete(%s, %s, %s, %s)", live.id, wrote)
    _send(connection, _then_commit(sql, joined), (live.id, live.attempt, result, ttl, *objects))


def answer(connection: Connection, call: Call) -> str | None:
    """The result of this completed call, its skip recorded, or None. One round trip, no lock."""
    delivery = call.delivery
    parameters = (call.key, call.identity.args_hash, delivery.task_id, delivery.worker)
    result: str | None = _value(connection, "select ledger_answer(%s, %s, %s, %s)", parameters)
    return result


def published(connection: Connection, key: str, args_hash: str) -> tuple[str, str | None] | None:
    """Task id and result (None: it is running) of what would answer a duplicate, without a lock.

    Running counts only in a message, which comes again if its worker dies, and only while the run
    itself holds the lock. So does a look, for a moment: by a delivery, which will take over, or by
    recovery, which will not, but begins no sooner than its grace after the attempt.
    """
    sql = (
        "select task_id, result::text from ledger_taskexecution e "
        "where key = %s and retired_at is null and args_hash = %s and ("
        "state = 'completed' and (expires_at is null or expires_at > ledger_now()) "
        "or state = 'running' and task_id <> '' and exists ("
        "select from ledger_locked() l join pg_stat_activity a using (pid) "
        "where l.lock = ledger_lock_id(e.key) "
        "and a.xact_start < e.started_at + interval '1 second'))"
    )
    found: list[tuple[str, str | None]] = _query(connection, sql, (key, args_hash))
    return found[0] if found else None


def fail(
    connection: Connection, call: Call, live: Live, error: BaseException, *, state: str
) -> None:
    """Record a failed attempt: ``failed``, so that the next delivery may run it, or ``held``."""
    delivery = call.delivery
    died = delivery.message is not None and not isinstance(error, Exception)  # SystemExit
    story = call.without_secrets("".join(traceback.format_exception(error)))
    story = readable.shortened(story, readable.MOST_TRACEBACK)
    said = readable.error(error, call.without_secrets)
    parameters = (call.key, live.id, live.attempt, call.ttl, delivery.task_id, delivery.worker)
    sql = "select ledger_fail(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    _send(connection, sql, (*parameters, said, story, state, died))


def record(connection: Connection, call: Call, live: Live, kind: str, reason: str) -> None:
    """Append one event."""
    delivery = call.delivery
    sql = "select ledger_record(%s, %s, %s, %s, %s, '', %s)"
    _send(connection, sql, (live.id, kind, live.attempt, delivery.task_id, delivery.worker, reason))


def release(
    connection: Connection,
    key: str,
    outcome: str,
    result: str | None,
    ttl: dt.timedelta | None,
    actor: str,
    reason: str,
) -> str:
    """Release a held row: ``released``, or ``running``, ``none`` or ``not held``."""
    sql = "select ledger_release(%s, %s, %s, %s, %s, %s)"
    return str(_value(connection, sql, (key, outcome, result, ttl, actor, reason)))


def record_late(connection: Connection, call: Call, result: str) -> None:
    """Record a run that completed while the ledger was unreachable."""
    delivery = call.delivery
    parameters = (
        call.key,
        delivery.task_name,
        call.identity.args_hash,
        call.readable_arguments(),
        call.period,
        call.protected.options.guarantee,
        delivery.task_id,
        delivery.root_id,
        delivery.worker,
        result,
        call.ttl,
    )
    sql = "select ledger_record_late(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    _send(connection, sql, parameters)


def note(connection: Connection, id: int, kind: str, attempt: int, actor: str, reason: str) -> None:
    """Append a person's decision to an execution's story."""
    sql = "select ledger_record(%s, %s, %s, '', '', %s, %s)"
    _send(connection, sql, (id, kind, attempt, actor, reason))


def record_imported(
    connection: Connection,
    done: Candidate,
    result: str,
    ttl: dt.timedelta | None,
    actor: str,
    reason: str,
) -> str:
    """Record what completed outside of the ledger: ``imported``, or the state of the live row that
    was left as it is."""
    parameters = (
        done.key,
        done.task_name,
        done.args_hash,
        done.arguments,
        done.period,
        done.protected.options.guarantee,
        result,
        ttl,
        readable.text(actor, 255),
        readable.text(reason),
    )
    sql = "select ledger_import(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    return str(_value(connection, sql, parameters))


def retire(connection: Connection, key: str, actor: str, reason: str) -> str:
    """Retire the live row: ``retired``, ``running`` (refused: its worker is alive) or ``none``."""
    return str(_value(connection, "select ledger_retire(%s, %s, %s)", (key, actor, reason)))


def abandon(connection: Connection, key: str, id: int, attempt: int, actor: str) -> bool:
    """Record a running row whose worker is gone as failed. False where its worker is alive."""
    sql = "select ledger_abandon(%s, %s, %s, %s)"
    return bool(_value(connection, sql, (key, id, attempt, actor)))


def retire_expired(connection: Connection, batch: int) -> int:
    """Retire up to ``batch`` expired rows; returns how many."""
    return int(_value(connection, "select ledger_retire_expired(%s)", (batch,)))


def purge(connection: Connection, retention: dt.timedelta, batch: int) -> int:
    """Delete up to ``batch`` rows retired longer ago than ``retention``; returns how many."""
    return int(_value(connection, "select ledger_purge(%s, %s)", (retention, batch)))


def settled(connection: Connection, patience: dt.timedelta) -> list[int]:
    """The ids of executions, events and steps up to which no row can appear any more; 0, 0, 0 where
    somebody goes on writing for longer than that."""
    return _value(connection, "select ledger_settled(%s)", (patience,)) or [0, 0, 0]


def tally_on(connection: Connection, batch: int, execution: int, event: int) -> bool:
    """Move the figures' mark on by up to ``batch`` rows, towards settled ids; whether there is more
    to do."""
    sql = "select ledger_tally_on(%s, %s, %s)"
    return bool(_value(connection, sql, (batch, execution, event)))


def seal_batch(connection: Connection, kind: str, upto: int, batch: int) -> int:
    """Seal up to ``batch`` rows of a kind, up to a settled id; returns how many were looked at, 0
    where somebody else is sealing."""
    return int(_value(connection, "select ledger_seal_batch(%s, %s, %s)", (kind, upto, batch)))


def steps(connection: Connection, execution_id: int) -> dict[str, str]:
    """Results, as JSON text, of the steps that are done, by name."""
    sql = "select name, result::text from ledger_executionstep where execution_id = %s"
    return dict(_query(connection, sql, (execution_id,)))


def holds_claim(connection: Connection, execution: Execution) -> bool:
    """Whether the execution's attempt is still the running one; it stays so until the open
    transaction ends, because a take-over waits for this row lock."""
    sql = (
        "select from ledger_taskexecution "
        "where id = %s and attempt = %s and state = 'running' for share"
    )
    return _send(connection, sql, (execution.id, execution.attempt))[-1].ntuples > 0


def record_step(
    connection: Connection, execution: Execution, name: str, result: str, wrote: Wrote
) -> None:
    """Record a step, in the transaction of its effects. The count of crashes begins anew."""
    sql, objects = _remembering(
        "insert into ledger_executionstep (execution_id, name, attempt, completed_at, result) "
        "values (%s, %s, %s, ledger_now(), %s::json); "
        "update ledger_taskexecution set crashes = 0 where id = %s and crashes > 0",
        execution.id,
        wrote,
    )
    _send(connection, sql, (execution.id, name, execution.attempt, result, execution.id, *objects))


def enqueue(
    connection: Connection, execution_id: int, task_name: str, task_id: str, message: str
) -> int:
    """Write a follow-up into the open transaction; returns its id."""
    sql = (
        "insert into ledger_outboxmessage "
        "(execution_id, task_name, task_id, message, created_at, tries, error) "
        "values (%s, %s, %s, %s::json, ledger_now(), 0, '') returning id"
    )
    return int(_value(connection, sql, (execution_id, task_name, task_id, message)))


def unpublished(
    connection: Connection, batch: int, after_seconds: int, created_at: str, id: int
) -> list[tuple[int, str, str]]:
    """The oldest follow-ups behind that one which nobody is publishing, locked by the open
    transaction: id, message, and when they were created."""
    sql = (
        "select id, message::text, created_at::text from ledger_outboxmessage "
        "where published_at is null and created_at < ledger_now() - %s "
        "and (created_at, id) > (%s::timestamptz, %s) "
        "order by created_at, id limit %s for update skip locked"
    )
    after = dt.timedelta(seconds=after_seconds)
    return _query(connection, sql, (after, created_at, id, batch))


def lock_messages(connection: Connection, ids: list[int]) -> list[tuple[int, str]]:
    """Those of the follow-ups that are still to be published and that nobody is publishing, locked
    by the open transaction."""
    sql = (
        "select id, message::text from ledger_outboxmessage where id = any(%s) "
        "and published_at is null order by id for update skip locked"
    )
    return _query(connection, sql, (ids,))


def mark_published(connection: Connection, ids: list[int]) -> None:
    """Note that these follow-ups are published."""
    sql = (
        "update ledger_outboxmessage set tries = tries + 1, error = '', "
        "published_at = ledger_now() where id = any(%s)"
    )
    _send(connection, sql, (ids,))


def mark_tried(connection: Connection, id: int, error: str) -> None:
    """Note a try that went wrong."""
    sql = "update ledger_outboxmessage set tries = tries + 1, error = %s where id = %s"
    _send(connection, sql, (readable.text(error, 2000), id))


def discard(connection: Connection, id: int, reason: str) -> tuple[int, int, str] | None:
    """Note that an unpublished follow-up is given up, which ends what waits for it. Returns its
    execution, the attempt that this has reached, and the follow-up's name for people; None where
    there is none. Waits for whoever is publishing it."""
    sql = (
        "update ledger_outboxmessage m set published_at = ledger_now(), error = 'given up: ' || %s "
        "|| case m.error when '' then '' else '; before: ' || m.error end "
        "from ledger_taskexecution e where m.id = %s and m.published_at is null "
        "and e.id = m.execution_id returning e.id, e.attempt, m.task_name || ' ' || m.task_id"
    )
    found: list[tuple[int, int, str]] = _query(connection, sql, (reason, id))
    return found[0] if found else None


def is_lost_claim(error: BaseException) -> bool:
    return _sqlstate(error) == CLAIM_LOST


def _sqlstate(error: BaseException) -> str | None:
    state: str | None = getattr(error.__cause__, "sqlstate", None)
    return state


def _claim_and_lock(
    connection: Connection, call: Call, sql: str, parameters: tuple[Any, ...], joined: bool
) -> Live:
    stays = call.protected.options.guarantee != "exactly_once"  # while the body works elsewhere
    if joined:
        batch = f"{sql}; {_LOCK}"
    elif stays:
        batch = (
            f"begin; {sql}; commit and chain; {_STAY}; "
            f"savepoint reading; {_LOCK}; rollback to savepoint reading"
        )
        parameters = (*parameters, call.key)
    else:
        batch = f"begin; {sql}; commit and chain; {_LOCK}"
    results = _send(connection, batch, (*parameters, call.key), own_transaction=not joined)
    [[claimed]] = _rows(connection, results[-2 if joined else 1])
    stayed = _rows(connection, results[3]) == [(True,)] if stays else True
    [[read]] = _rows(connection, results[5 if stays else -1])
    locked, id, state, attempt, crashes, args_hash, expired, result = read
    return Live(
        claimed=claimed,
        locked=stayed and locked == "true",
        id=id and int(id),
        state=state,
        attempt=int(attempt or 0),
        crashes=int(crashes or 0),
        args_hash=args_hash,
        expired=expired == "true",
        result=result,
    )


def _remembering(sql: str, id: int | None, wrote: Wrote) -> tuple[str, tuple[object, ...]]:
    """The statement with another behind it, where there is something to remember, and the further
    parameters."""
    if not wrote:
        return sql, ()
    rows = ", ".join(["(%s, %s, %s, %s)"] * len(wrote))
    remember = (
        "insert into ledger_executionobject (execution_id, model, object_id, label) "  # noqa: S608
        f"values {rows} on conflict do nothing"
    )
    return f"{sql}; {remember}", tuple(value for written in wrote for value in (id, *written))


def _then_commit(sql: str, joined: bool) -> str:
    return sql if joined else f"{sql}; commit"


def _send(
    connection: Connection, sql: str, parameters: tuple[Any, ...], *, own_transaction: bool = False
) -> list[PGresult]:
    """The results of its statements. Errors arrive as Django's; a ledger that is not installed says
    so, and a server that may not write is as good as none.

    ``own_transaction``: it begins by itself, and the driver must not begin another one unnoticed,
    should a body end this one by hand.
    """
    connection.ensure_connection()
    try:
        with connection.wrap_database_errors:
            driver = connection.connection
            if own_transaction:
                driver.autocommit = True
            elif not driver.autocommit and driver.pgconn.transaction_status == IDLE:
                sql = f"begin; {sql}"
            escaping = Escaping(driver.pgconn)
            query = sql.encode() % tuple([_literal(escaping, value) for value in parameters])
            with driver.lock:
                driver.pgconn.send_query(query)
                results: list[PGresult] = driver.wait(generators.execute(driver.pgconn))
            for result in results:
                if result.status == FAILED:
                    raise errors.error_from_result(result)
            return results
    except ProgrammingError as error:
        if _sqlstate(error) in ("42883", "42P01"):
            raise LedgerError(
                f"the ledger is not installed in database {connection.settings_dict['NAME']!r} "
                f"({error}). Run: python manage.py migrate ledger, with --database and its alias "
                "where that is not the default one."
            ) from error
        raise
    except InternalError as error:
        if _sqlstate(error) == READ_ONLY:  # a primary that was demoted: another server is it now
            raise OperationalError(*error.args) from error.__cause__
        raise


def _literal(escaping: EscapingProtocol, value: object) -> bytes:
    """A value as SQL. Text is quoted by libpq for this connection; NUL, which no text can hold in
    PostgreSQL, shows as U+FFFD."""
    if value is None:
        return b"null"
    if isinstance(value, str):
        return bytes(
            escaping.escape_literal(value.replace("\x00", "\ufffd").encode("utf-8", "replace"))
        )
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, list):
        return b"array[%s]::bigint[]" % b", ".join([b"%d" % item for item in value])
    if isinstance(value, dt.timedelta):
        return b"interval '%f seconds'" % value.total_seconds()
    raise TypeError(f"no SQL literal for {type(value)}")


def _rows(connection: Connection, result: PGresult) -> list[tuple[Any, ...]]:
    reader = Transformer(connection.connection)
    reader.set_pgresult(result)
    return reader.load_rows(0, result.ntuples, tuple)


def _query(connection: Connection, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return _rows(connection, _send(connection, sql, parameters)[-1])


def _value(connection: Connection, sql: str, parameters: tuple[Any, ...]) -> Any:
    [[value]] = _query(connection, sql, parameters)
    return value
