"""Each check of the demo finds what it is there to find."""

import psycopg
import pytest

from payroll.demo.checks import Check, check_month, numbers
from payroll.models import Employee

PAYSLIPS = "Every employee has one payslip for the month, and nobody has another"
EARNED = "Every employee earned to the cent what the CSV files say"
LINES = "Every payslip is the sum of its lines"
BALANCED = "Every journal entry sums to zero"
BOOKED = "Every payslip is in the books once, with its own amounts"
PAYMENTS = "Nobody is paid twice, and everybody the net of the CSV files"
EXECUTIONS = (
    "Every employee has one execution in the ledger, and it is completed; none is left running"
)
DELIVERIES = "No delivery failed"
SUCCESSES = "Every success is accounted for: it was the execution, or a duplicate that was answered"
TAKE_OVERS = "Every payslip that a worker was killed in was taken over by another"

PAYSLIP_AGAIN = """
    INSERT INTO payroll_payslip (employee_id, year, month, sequence, kind, currency,
                                 minutes, gross, withholding, net, issues)
    SELECT employee_id, year, month, 2, kind, currency, minutes, gross, withholding, net, issues
    FROM payroll_payslip ORDER BY id LIMIT 1
"""
PAYMENT_OF_LAST = """
    INSERT INTO payroll_payment (payslip_id, amount, currency, status)
    SELECT max(id), 600, 'EUR', 'pending' FROM payroll_payslip
"""
SPOILED = {
    "a payslip twice": (PAYSLIP_AGAIN, {PAYSLIPS, EARNED, LINES, BOOKED}),
    "a payslip and its payment twice": (
        f"{PAYSLIP_AGAIN}; {PAYMENT_OF_LAST}",
        {PAYSLIPS, EARNED, LINES, BOOKED, PAYMENTS},
    ),
    "a payslip lost": (
        "DELETE FROM payroll_payslip WHERE id = {payslip}",
        {PAYSLIPS, EARNED, PAYMENTS},
    ),
    "a payslip of another month": (
        "UPDATE payroll_payslip SET month = 9 WHERE id = {payslip}",
        {PAYSLIPS},
    ),
    "a payslip of somebody who has none to expect": (
        "DELETE FROM demo_message WHERE number = (SELECT min(number) FROM demo_expected);"
        " DELETE FROM demo_expected WHERE number = (SELECT min(number) FROM demo_expected)",
        {PAYSLIPS},
    ),
    "a cent too much": (
        "UPDATE payroll_payslip SET gross = gross + 0.01, net = net + 0.01 WHERE id = {payslip}",
        {EARNED, LINES, BOOKED},
    ),
    "a cent withheld too much": (
        "UPDATE payroll_payslip SET withholding = 200.01, net = 599.99 WHERE id = {payslip}",
        {EARNED, LINES, BOOKED},
    ),
    "a minute too few": (
        "UPDATE payroll_payslip SET minutes = minutes - 1 WHERE id = {payslip}",
        {EARNED},
    ),
    "another currency": (
        "UPDATE payroll_payslip SET currency = 'USD' WHERE id = {payslip}",
        {EARNED},
    ),
    "a line a cent off": (
        "UPDATE payroll_payslipline SET amount = amount - 0.01 WHERE id = {line}",
        {LINES},
    ),
    "a journal that does not balance": (
        "UPDATE payroll_journalline SET amount = amount + 0.01 WHERE id = {posting}",
        {BALANCED, BOOKED},
    ),
    "a journal without lines": (
        "DELETE FROM payroll_journalline WHERE entry_id = {entry}",
        {BALANCED, BOOKED},
    ),
    "a journal that balances on other amounts": (
        "UPDATE payroll_journalline SET amount = amount / 2 WHERE entry_id = {entry}",
        {BOOKED},
    ),
    "a journal twice": (
        "WITH again AS (INSERT INTO payroll_journalentry (payslip_id, currency, description)"
        " SELECT payslip_id, currency, description FROM payroll_journalentry WHERE id = {entry}"
        " RETURNING id)"
        " INSERT INTO payroll_journalline (entry_id, account, amount)"
        " SELECT again.id, account, amount FROM payroll_journalline, again"
        " WHERE entry_id = {entry}",
        {BOOKED},
    ),
    "a journal lost": (
        "DELETE FROM payroll_journalline WHERE entry_id = {entry};"
        " DELETE FROM payroll_journalentry WHERE id = {entry}",
        {BOOKED},
    ),
    "a payment twice": (
        "ALTER TABLE payroll_payment DROP CONSTRAINT payroll_payment_payslip_id_key;"
        f" {PAYMENT_OF_LAST}",
        {PAYMENTS},
    ),
    "a payment lost": ("DELETE FROM payroll_payment WHERE id = {payment}", {PAYMENTS}),
    "a payment a cent off": (
        "UPDATE payroll_payment SET amount = amount - 0.01 WHERE id = {payment}",
        {PAYMENTS},
    ),
    "a payment in another currency": (
        "UPDATE payroll_payment SET currency = 'USD' WHERE id = {payment}",
        {PAYMENTS},
    ),
    "an execution left running": (
        "UPDATE ledger_taskexecution SET state = 'running', completed_at = NULL"
        " WHERE id = {execution}",
        {EXECUTIONS, SUCCESSES},
    ),
    "an execution held": (
        "UPDATE ledger_taskexecution SET state = 'held' WHERE id = {execution}",
        {EXECUTIONS, SUCCESSES},
    ),
    "an execution lost": (
        "UPDATE ledger_taskexecution SET arguments = '{{}}' WHERE id = {execution}",
        {EXECUTIONS},
    ),
    "a delivery that failed": (
        "UPDATE demo_delivery SET outcome = 'FAILURE' WHERE id = {delivery}",
        {DELIVERIES},
    ),
    "a success that nobody knows of": (
        "INSERT INTO demo_delivery (task_id, process, session, outcome)"
        " VALUES ('message 0', 1, 1, 'SUCCESS')",
        {SUCCESSES},
    ),
    "a kill that nobody took over": (
        "INSERT INTO demo_kill SELECT 1, 'worker', min(number) FROM demo_expected",
        {TAKE_OVERS},
    ),
}
NAMES = {
    "payslip": "payroll_payslip",
    "line": "payroll_payslipline",
    "entry": "payroll_journalentry",
    "posting": "payroll_journalline",
    "payment": "payroll_payment",
    "execution": "ledger_taskexecution",
    "delivery": "demo_delivery",
}


def broken(session: psycopg.Connection) -> dict[str, Check]:
    return {c.promise: c for c in check_month(session, 2025, 10) if not c.holds}


def test_every_check_holds_where_the_month_was_paid_once(
    session: psycopg.Connection, paid: list[Employee]
) -> None:
    assert broken(session) == {}


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_spoiled_is_found(
    session: psycopg.Connection, paid: list[Employee], what: str
) -> None:
    spoil, promises = SPOILED[what]
    first = {name: f"(SELECT min(id) FROM {table})" for name, table in NAMES.items()}
    for statement in spoil.format(**first).split(";"):
        session.execute(statement.encode())

    found = broken(session)

    assert set(found) == promises
    assert all(len(check.violations) == 1 or what == "a payslip twice" for check in found.values())


def test_a_take_over_is_recognised(session: psycopg.Connection, paid: list[Employee]) -> None:
    session.execute("INSERT INTO demo_kill VALUES (1, 'pool process', %s)", [paid[1].number])
    assert set(broken(session)) == {TAKE_OVERS}

    for kind in ("abandoned", "taken_over"):
        session.execute(
            "INSERT INTO ledger_executionevent"
            " (execution_id, kind, at, attempt, task_id, worker, actor, reason, traceback)"
            " SELECT id, %s, now(), 1, '', '', '', '', '' FROM ledger_taskexecution"
            " WHERE arguments ->> 'employee_id' = %s",
            [kind, str(paid[1].pk)],
        )

    assert broken(session) == {}


def test_a_broken_promise_says_for_whom_what_was_expected_and_what_found(
    session: psycopg.Connection, paid: list[Employee]
) -> None:
    session.execute(
        "UPDATE payroll_payslip SET gross = 800.01, net = 600.01 WHERE employee_id = %s",
        [paid[2].pk],
    )

    assert str(broken(session)[EARNED]) == (
        f"✗ {EARNED}\n    {paid[2].number}: expected (EUR,2400,800.00,200.00,600.00),"
        " found (EUR,2400,800.01,200.00,600.01)"
    )


def test_the_numbers_are_counted(session: psycopg.Connection, paid: list[Employee]) -> None:
    session.execute(PAYSLIP_AGAIN)
    session.execute("DELETE FROM payroll_payslip WHERE employee_id = %s", [paid[2].pk])
    session.execute(
        "UPDATE demo_delivery SET outcome = 'RETRY' WHERE id = (SELECT min(id) FROM demo_delivery)"
    )

    seen = numbers(session, 2025, 10)

    assert (seen.published, seen.delivered, seen.put_back, seen.missing) == (6, 6, 1, 1)
    assert (seen.executions, seen.answered, seen.taken_over, seen.killed) == (3, 3, 0, 0)
    assert (seen.payslips, seen.posted_twice, seen.lost) == (3, 1, 1)
