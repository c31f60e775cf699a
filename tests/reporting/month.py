"""A month of a small payroll, made by the protocol's own functions at times that are given.

Every id, time and answer is the same each time it is made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

from ledger import store
from ledger.evidence.sealing import seal
from ledger.sweep import PATIENCE

PAYROLL = "payroll.tasks.process_payroll"
TRANSFER = "payroll.tasks.financial_transaction"
HOURS = "payroll.tasks.daily_hours"
NOW = "2026-12-01 09:00"
ZONE = "Europe/Berlin"
FIRST, SECOND = "celery@pay-1", "celery@pay-2"
TTL = "72 hours"


class Call:
    """One logical call, and what befalls it."""

    def __init__(self, task: str, guarantee: str = "exactly_once", **arguments: Any) -> None:
        self.task, self.guarantee, self.arguments = task, guarantee, arguments
        self.period: str | None = arguments.get("day")
        self.hash = hashlib.sha256(json.dumps(arguments).encode()).hexdigest()
        self.key = f"idempotent:{task}:{self.hash}" + (f":{self.period}" if self.period else "")
        self.id = self.attempt = 0

    def claim(self, at: str, task_id: str, worker: str = FIRST) -> Call:
        _ask(
            at, "select ledger_claim(%s, %s, %s, %s, %s, %s, %s, %s, %s, 3, false)",
            self.key, self.task, self.hash, json.dumps(self.arguments), self.period, self.guarantee,
            task_id, task_id, worker,
        )  # fmt: skip
        sql = "select array[id, attempt] from ledger_taskexecution where key = %s order by id desc"
        self.id, self.attempt = _ask(at, sql, self.key)
        return self

    def complete(self, at: str, result: Any, ttl: str | None = TTL) -> Call:
        _ask(
            at, "select ledger_complete(%s, %s, %s, %s)",
            self.id, self.attempt, json.dumps(result), ttl,
        )  # fmt: skip
        return self

    def fail(self, at: str, error: str, task_id: str, state: str = "failed") -> Call:
        _ask(
            at, "select ledger_fail(%s, %s, %s, %s, %s, %s, %s, '', %s)",
            self.key, self.id, self.attempt, TTL, task_id, FIRST, error, state,
        )  # fmt: skip
        return self

    def take_over(self, at: str, task_id: str) -> Call:
        sql = "select ledger_take_over(%s, %s, %s, 3, %s, %s, %s)"
        _ask(at, sql, self.key, self.id, self.attempt, task_id, task_id, SECOND)
        self.attempt += 1
        return self

    def duplicate(self, at: str, task_id: str) -> Call:
        _ask(at, "select ledger_answer(%s, %s, %s, %s)", self.key, self.hash, task_id, SECOND)
        return self


@contextmanager
def november() -> Iterator[None]:
    """The month is in the ledger, and its clock shows ``NOW``; one worker is at work meanwhile."""
    clock = _ask(None, "select pg_get_functiondef('ledger_now()'::regprocedure)")
    with connection.cursor() as cursor:
        cursor.execute(
            "truncate ledger_taskexecution, ledger_executionevent, ledger_executionstep, "
            "ledger_outboxmessage, ledger_seal, ledger_unsealedexecution restart identity cascade"
        )
    alive = another_session()
    try:
        _make()
        _ask(NOW, "select null")
        alive.execute("begin")
        alive.execute("select ledger_lock(%s)", [_running.key])
        yield
    finally:
        alive.close()
        _ask(None, clock)


_running = Call(HOURS, day="2026-12-01")


def _make() -> None:
    _paid = [Call(PAYROLL, employee_id=number, year=2026, month=11) for number in range(1, 7)]
    one, two, three, four, five, six = _paid
    for number, call in enumerate(_paid):
        call.claim(f"2026-11-27 06:00:0{number}", f"pay-{number + 1}")
    one.complete("2026-11-27 06:00:00.240", {"payslip": 1, "net": "2811.40"})
    two.complete("2026-11-27 06:00:01.310", {"payslip": 2, "net": "1904.00"})
    three.take_over("2026-11-27 06:02:31", "pay-3")
    three.complete("2026-11-27 06:02:31.420", {"payslip": 3, "net": "3377.85"})
    four.fail("2026-11-27 06:00:03.150", "MissingWorkLog('employee 4, week 47')", "pay-4")
    four.claim("2026-11-27 06:10:03", "pay-4", SECOND)
    four.complete("2026-11-27 06:10:03.200", {"payslip": 4, "net": "2150.10"})
    five.fail("2026-11-27 06:00:04.090", "ValueError('no pay policy covers 2026-11')", "pay-5")
    six.complete("2026-11-27 06:00:07.900", {"payslip": 6, "net": "2440.00"})
    one.duplicate("2026-11-27 06:00:00.900", "pay-1")
    two.duplicate("2026-11-28 14:30:00", "by-hand-2")
    _ask(
        "2026-11-28 15:00", "select ledger_retire(%s, 'Ana Ruiz', %s)",
        two.key, "hours of 26 November were missing",
    )  # fmt: skip
    two.claim("2026-11-28 15:01", "again-2")
    two.complete("2026-11-28 15:01:00.280", {"payslip": 2, "net": "1998.50"})

    sure, unsure = (Call(TRANSFER, "at_most_once", payment_id=number) for number in (16, 17))
    lost = Call(TRANSFER, "at_most_once", payment_id=18)
    sure.claim("2026-11-30 10:00", "transfer-16")
    sure.complete("2026-11-30 10:00:01.100", {"bank_number": 4710}, None)
    for number, call in ((17, unsure), (18, lost)):
        call.claim(f"2026-11-30 10:0{number - 16}", f"transfer-{number}")
        call.fail(
            f"2026-11-30 10:0{number - 16}:10", "ReadTimeout('bank')", f"transfer-{number}", "held"
        )
    _ask(
        "2026-11-30 16:20", "select ledger_release(%s, 'completed', %s, null, 'Dana Weber', %s)",
        unsure.key, '{"bank_number": 4711}', "booked, says the statement of 30 November",
    )  # fmt: skip

    for day in (28, 29, 30):
        hours = Call(HOURS, day=f"2026-11-{day}").claim(f"2026-11-{day} 23:00", f"hours-{day}")
        hours.complete(f"2026-11-{day} 23:00:0{day - 26}.5", {"minutes": 480})
        hours.duplicate(f"2026-11-{day} 23:00:09", f"hours-{day}")
    _ask("2026-12-01 08:30", "select ledger_retire_expired(1000)")
    Call(PAYROLL, employee_id=7, year=2026, month=11).claim("2026-12-01 08:00", "pay-7", SECOND)
    _running.claim("2026-12-01 08:58", "hours-01")
    _ask(
        "2026-11-30 10:00:01.100",
        "insert into ledger_outboxmessage "
        "(execution_id, task_name, task_id, message, created_at, tries, error) "
        "values (%s, 'payroll.tasks.notify_payslip', 'notify-16', '{}', ledger_now(), 2, %s)",
        sure.id, "OperationalError('the broker is down')",
    )  # fmt: skip
    seal(connection, store.settled(connection, PATIENCE), 1000)


def _ask(at: str | None, sql: str, *values: Any) -> Any:
    """One value, at that time by the ledger's clock."""
    with connection.cursor() as cursor:
        if at is not None:
            cursor.execute(
                "create or replace function ledger_now() returns timestamptz language sql volatile "
                f"parallel safe as $$ select '{at} {ZONE}'::timestamptz $$"
            )
        cursor.execute(sql, values or None)
        return cursor.fetchone()[0] if cursor.description else None


def another_session() -> psycopg.Connection:
    info = connection.connection.info
    return psycopg.connect(info.dsn, password=info.password, autocommit=True)
