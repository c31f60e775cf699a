"""One payment for each of the four ways to pay, and one fault that strikes all of them."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from celery import Task

from ledger import make_idempotency_key, release
from ledger.models import ExecutionEvent, State, TaskExecution
from ledger.testing.worker import Workers
from payroll.bank.process import BankProcess
from payroll.chasing import settle_released
from payroll.models import Employee, JournalEntry, Payment, PayPolicy
from payroll.months import Month
from payroll.services import post_payslip

from . import tasks
from .faults import FAULTS, Fault
from .tasks import WAYS, Way

DAY = date(2025, 10, 6)
ENDED = (State.COMPLETED, State.HELD)
PATIENCE = 60.0
"""Seconds in which something that is waited for has to come."""

Verdict = Literal["once", "twice", "held", "lost"]
"""How often the bank booked it: ``held``, a person was asked, and then it was once. ``lost``: it
was never booked, or the books do not say what the bank says."""


class Paid:
    """A payment on one of the ways, and all that is known of it from outside."""

    def __init__(self, task: Task, bank: BankProcess, payment: Payment) -> None:
        self.task = task
        self.bank = bank
        self.payment = payment
        self.reference = f"payment-{payment.pk}"

    def tell(self, timeout: float) -> None:
        self.task.delay(self.payment.pk, self.bank.url, timeout)

    @property
    def key(self) -> str:
        return make_idempotency_key(self.task.name, [self.payment.pk, "", 0.0])

    @property
    def execution(self) -> TaskExecution | None:
        return TaskExecution.objects.filter(key=self.key, retired_at=None).first()

    @property
    def state(self) -> str | None:
        return self.execution.state if self.execution else None

    @property
    def worker(self) -> int:
        """The pid of the process that has it."""
        assert self.execution  # noqa: S101 - it was seen at work
        return int(self.execution.worker.rpartition("/")[2])

    @property
    def failures(self) -> int:
        return ExecutionEvent.objects.filter(execution__key=self.key, kind="failed").count()

    @property
    def requests(self) -> int:
        """How many the bank's fault has struck."""
        return sum(int(rule["struck"]) for rule in self.bank.faults()["rules"])

    @property
    def bookings(self) -> list[dict[str, Any]]:
        bookings: list[dict[str, Any]] = self.bank.book(self.reference)["bookings"]
        return bookings

    @property
    def booked(self) -> int:
        return len(self.bookings)

    @property
    def is_in_the_books(self) -> bool:
        self.payment.refresh_from_db()
        entries = JournalEntry.objects.filter(payment=self.payment).count()
        numbers = [booking["number"] for booking in self.bookings]
        return (
            self.payment.status == Payment.Status.SENT
            and self.payment.bank_number in numbers
            and entries == 1
        )


class Trial:
    """``verdicts`` tells all ways to pay, lets the fault strike, and waits for what comes of it."""

    def __init__(self, fault: Fault, banks: Mapping[Way, BankProcess]) -> None:
        self.fault = fault
        self.ways = {way: Paid(task, banks[way], new_payment()) for way, task in WAYS.items()}
        self.payments = list(self.ways.values())

    def verdicts(self) -> dict[Way, Verdict]:
        for payment in self.payments:
            rules = [{"fault": self.fault.rule, "count": 1}] if self.fault.rule else []
            payment.bank.misbehave(*rules)
        with self.fault.around(self):
            for payment in self.payments:
                for _ in range(self.fault.messages):
                    payment.tell(self.fault.timeout)
        self.wait_until(lambda payment: payment.state in ENDED, "the end of it")
        return {way: self._judge(payment) for way, payment in self.ways.items()}

    def wait_until(self, condition: Callable[[Paid], bool], what: str) -> None:
        """Until it holds for all payments. RuntimeError after PATIENCE."""
        deadline = time.monotonic() + PATIENCE
        while not all(condition(payment) for payment in self.payments):
            if time.monotonic() > deadline:
                states = {p.task.name: (p.state, p.failures) for p in self.payments}
                raise RuntimeError(
                    f"{self.fault.name}: waited {PATIENCE:g} s in vain for {what}: {states}"
                )
            time.sleep(0.02)

    def _judge(self, payment: Paid) -> Verdict:
        held = payment.state == State.HELD
        if held:
            self._decide(payment)
        if payment.booked == 0 or not payment.is_in_the_books:
            return "lost"
        if payment.booked > 1:
            return "twice"
        return "held" if held else "once"

    def _decide(self, payment: Paid) -> None:
        """As docs/payments.md tells a person to: ask the bank, and release it accordingly."""
        who = {"reason": "the bank was asked", "actor": "an accountant"}
        if payment.bookings:
            result = {"bank_number": payment.bookings[0]["number"]}
            release(payment.key, "completed", result=result, **who)
            settle_released(payment.payment, result)
        else:
            release(payment.key, "failed", **who)
            payment.tell(PATIENCE)
            self.wait_until(lambda payment: payment.state in ENDED, "its being sent again")


def new_payment() -> Payment:
    """The net pay of somebody new, who worked for a day."""
    policy, _ = PayPolicy.objects.get_or_create(code="TRIAL", defaults={"name": "None in force"})
    employee = Employee.objects.create(
        number=f"T{Employee.objects.count() + 1}",
        name="Somebody",
        currency="EUR",
        time_zone="UTC",
        pay_policy=policy,
        hired_on=DAY,
        iban="DE89370400440532013000",
    )
    employee.hourly_rates.create(valid_from=DAY, amount=20)
    morning = datetime(DAY.year, DAY.month, DAY.day, 8, tzinfo=UTC)
    employee.work_logs.create(
        check_in=morning, check_out=morning + timedelta(hours=8), time_zone="UTC"
    )
    return post_payslip(employee.pk, Month(DAY.year, DAY.month)).payment


def run(start: Workers, folder: Path) -> Iterator[tuple[Fault, dict[Way, Verdict]]]:
    """Every fault and what came of it. ``start`` starts a worker on the current database, in which
    employees and payments are made; ``folder`` gets the banks' books."""
    start(len(WAYS), include=[tasks.__name__])
    with ExitStack() as stack:
        banks = {
            way: stack.enter_context(BankProcess(folder / f"{number}.jsonl"))
            for number, way in enumerate(WAYS)
        }
        for fault in FAULTS:
            yield fault, Trial(fault, banks).verdicts()
