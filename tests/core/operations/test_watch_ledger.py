"""Without Prometheus, a task looks twice and tells of what it saw both times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.tasks import watch_ledger
from ledger import alarms, current_execution, idempotent_task, release
from ledger.models import TaskExecution
from ledger.testing import Clock
from tests.ledger.death import die, dies
from tests.ledger.inbox import Inbox
from tests.workers import empty_broker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def inbox(transactional_db: None, broker: None) -> Iterator[Inbox]:
    empty_broker()
    with Inbox.open() as inbox:
        yield inbox


@pytest.fixture
def watch(
    inbox: Inbox, ledger_clock: Clock, mailoutbox: list[Any]
) -> Callable[..., dict[str, str]]:
    """Look, let five minutes pass and something happen, look again, and deliver what was asked for:
    each new mail's subject and message."""

    def twice(meanwhile: Callable[[], object] = lambda: None) -> dict[str, str]:
        del mailoutbox[:]
        watch_ledger.delay()
        assert inbox.take().run() == []
        ledger_clock.forward(seconds=alarms.WINDOW)
        meanwhile()
        second = inbox.take()
        assert second.headers["eta"] is not None
        raised = second.run()
        for _ in raised:
            inbox.take().run()
        assert inbox.is_empty
        return {mail.subject.removeprefix("[critical] "): mail.body for mail in mailoutbox}

    return twice


@idempotent_task(guarantee="at_most_once")
def wire(number: int) -> None:
    raise OSError("in doubt")


def hold(number: int) -> None:
    with pytest.raises(OSError, match="in doubt"):
        wire(number)


@idempotent_task(ttl_hours=24)
def pay(employee: int) -> int:
    return employee


@idempotent_task(max_crashes=9)
def deadly() -> None:
    die()


def test_where_all_is_well_nobody_is_told(watch: Callable[..., dict[str, str]]) -> None:
    assert watch(lambda: [pay(employee) for employee in range(25)]) == {}


def test_what_is_held_is_told_once_in_the_same_words_however_many_there_are(
    watch: Callable[..., dict[str, str]],
) -> None:
    hold(1)
    told = watch()
    assert told["LedgerHeld"].splitlines() == [
        "Executions are held for a person's decision.",
        f"Task: {__name__}.wire",
        "What to do: docs/operations.md#ledgerheld",
    ]
    hold(2)
    assert watch() == {}


def test_what_is_over_by_the_second_look_is_not_told(
    watch: Callable[..., dict[str, str]],
) -> None:
    hold(1)
    key = TaskExecution.objects.get().key
    assert watch(lambda: release(key, "failed", reason="it did not happen")) == {}


def test_what_begins_between_the_looks_is_not_told_yet(
    watch: Callable[..., dict[str, str]],
) -> None:
    assert watch(lambda: hold(1)) == {}


def test_executions_without_a_worker_are_told(
    watch: Callable[..., dict[str, str]], ledger_clock: Clock
) -> None:
    dies(deadly)
    ledger_clock.forward(seconds=30)
    assert list(watch()) == ["LedgerStuck"]


def test_a_task_that_kills_its_workers_is_told(
    watch: Callable[..., dict[str, str]], ledger_clock: Clock
) -> None:
    for _ in range(3):
        dies(deadly)
    ledger_clock.forward(seconds=30)
    assert list(watch()) == ["LedgerStuck", "LedgerCrashLoop"]


def test_mostly_duplicates_are_told_where_they_are_enough_for_a_pattern(
    watch: Callable[..., dict[str, str]],
) -> None:
    pay(0)
    assert watch(lambda: [pay(0) for _ in range(19)]) == {}
    assert list(watch(lambda: [pay(0) for _ in range(20)])) == ["LedgerManyDuplicates"]


def test_duplicates_among_as_much_work_are_not(watch: Callable[..., dict[str, str]]) -> None:
    def as_many() -> None:
        for employee in range(25):
            pay(employee)
            pay(employee)

    assert watch(as_many) == {}


def test_a_sweep_that_does_not_run_is_told(
    watch: Callable[..., dict[str, str]], ledger_clock: Clock
) -> None:
    pay(1)
    ledger_clock.forward(hours=24, minutes=20)
    assert watch() == {}
    ledger_clock.forward(minutes=10)
    assert list(watch()) == ["LedgerSweepBehind"]


def test_an_outbox_that_nobody_relays_is_told(
    watch: Callable[..., dict[str, str]], ledger_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.outbox.publish", lambda *_: 0)  # as a crash before it

    @idempotent_task()
    def work() -> None:
        current_execution().enqueue(watch_ledger.s())

    work()
    ledger_clock.forward(minutes=3)
    assert list(watch()) == ["LedgerOutboxBehind"]


def test_a_ledger_that_does_not_answer_is_told_at_once(
    mailoutbox: list[Any], silent_ledger: None
) -> None:
    assert watch_ledger() == ["LedgerUnreachable"]
    [mail] = mailoutbox
    assert mail.subject == "[critical] LedgerUnreachable"


def test_a_release_that_brings_an_alarm_between_the_looks_breaks_neither() -> None:
    hold(1)
    now = alarms.look()
    before = {name: seen for name, seen in now.items() if name != "LedgerHeld"}
    assert alarms.raised(before, now) == []
    assert [alarm.name for alarm, _ in alarms.raised(now, now)] == ["LedgerHeld"]
