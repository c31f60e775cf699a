"""A message that failed for good is kept, with all it says, and sent again at most once."""

import datetime as dt
from typing import Any

import pytest
from celery.exceptions import TimeLimitExceeded
from django.db import connection, transaction
from django.utils import timezone

from core import dead_letters
from core.celery import app
from core.models import DeadLetter, Report
from core.tasks import (
    generate_reports,
    health_check,
    process_dead_letter,
    process_dead_letters,
    send_critical_alert,
)
from ledger import DuplicateExecution
from ledger.models import ExecutionEvent, OutboxMessage, TaskExecution
from ledger.tasks import relay
from ledger.testing import Clock, Worker, crash_at
from payroll.tasks import financial_transaction, process_payroll
from tests.core.operations import rows
from tests.core.operations.mail_server import Mailbox
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = ("disk", "The disk of db1 is full.", ["gone@example.com"])


def letter_of(task_id: str) -> DeadLetter:
    """Waits until that task has failed for good."""
    wait_until(DeadLetter.objects.filter(task_id=task_id).exists, what="the letter")
    return DeadLetter.objects.get(task_id=task_id)


@pytest.fixture
def letter(worker: Worker, mailbox: Mailbox) -> DeadLetter:
    """Of an alert to somebody unknown."""
    mailbox.unknown.add("gone@example.com")
    return letter_of(send_critical_alert.delay(*WORDS).id)


def test_what_failed_is_kept_with_its_message_and_its_error(letter: DeadLetter) -> None:
    assert letter.task_name == "core.tasks.send_critical_alert"
    assert (letter.state, letter.failures, letter.is_transient) == ("open", 1, False)
    assert "SMTPRecipientsRefused" in letter.error
    assert "send_critical_alert" in letter.traceback
    assert WORDS[1] in letter.message


def test_sent_again_it_does_what_it_was_to_do(
    worker: Worker, mailbox: Mailbox, letter: DeadLetter
) -> None:
    mailbox.unknown.clear()
    answer = process_dead_letter.delay(letter.pk).get(timeout=30)

    wait_until(lambda: mailbox.subjects == ["[critical] disk"])
    letter.refresh_from_db()
    assert (letter.state, letter.requeued_as) == ("requeued", answer["task_id"])
    assert mailbox.messages[0]["To"] == "gone@example.com"


def test_failed_again_it_is_another_letter_that_counts_on(
    worker: Worker, letter: DeadLetter
) -> None:
    answer = process_dead_letter.delay(letter.pk).get(timeout=30)

    second = letter_of(answer["task_id"])
    assert (second.failures, second.state) == (2, "open")
    letter.refresh_from_db()
    assert letter.state == "requeued"


@pytest.mark.parametrize("point", ["in_body", "before_commit", "after_commit"])
def test_killed_while_it_is_processed_it_is_sent_again_once(
    worker: Worker, mailbox: Mailbox, ledger_clock: Clock, point: str
) -> None:
    letter = rows.dead_letter()
    with crash_at(point) as crash:
        result = process_dead_letter.delay(letter.pk)
    crash.wait()
    result.get(timeout=30)
    if point == "after_commit":
        ledger_clock.forward(seconds=11)
        assert relay() == 1

    wait_until(lambda: mailbox.messages)
    assert len(mailbox.messages) == OutboxMessage.objects.count() == 1


def test_processing_is_retried_when_the_database_failed_for_a_while(
    worker: Worker, mailbox: Mailbox
) -> None:
    letter = rows.dead_letter()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("lock table core_deadletter in access exclusive mode")
        result = process_dead_letter.delay(letter.pk)
        worker.wait_for_log(f"[{result.id}] retry")
    result.get(timeout=30)

    wait_until(lambda: mailbox.messages)
    assert len(mailbox.messages) == OutboxMessage.objects.count() == 1


def test_it_is_sent_again_for_the_day_it_was_meant_for(worker: Worker) -> None:
    """And with as many retries as at first: the first of them is taken here."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("lock table core_report in access exclusive mode")
        result = generate_reports.apply_async(
            headers={"ledger_period": "2026-03-02"}, retries=generate_reports.max_retries
        )
        with pytest.raises(Exception, match="lock timeout"):
            result.get(timeout=30)
    letter = letter_of(result.id)
    assert letter.is_transient

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("lock table core_report in access exclusive mode")
        answer = process_dead_letter.delay(letter.pk).get(timeout=30)
        worker.wait_for_log(f"[{answer['task_id']}] retry")
    wait_until(Report.objects.exists)
    assert {str(report.period) for report in Report.objects.all()} == {"2026-03-01"}


def test_a_hard_time_limit_is_no_failure_where_the_message_comes_back(
    worker: Worker, mailbox: Mailbox
) -> None:
    mailbox.pause = 0.4
    people = [f"{number}@example.com" for number in range(20)]
    slow = ["slow", "words", people]
    send_critical_alert.apply_async(slow, time_limit=1, soft_time_limit=0)
    worker.wait_for_log("Hard time limit (1s) exceeded")
    mailbox.pause = 0

    wait_until(TaskExecution.objects.filter(state="completed").exists)
    assert not DeadLetter.objects.exists()


def test_a_hard_time_limit_is_one_where_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's main process says so, which knows the arguments and not the message."""
    monkeypatch.setattr(send_critical_alert, "acks_on_timeout", True)
    dead_letters.record(send_critical_alert, "an id", TimeLimitExceeded(1), WORDS, {})

    letter = DeadLetter.objects.get()
    assert "TimeLimitExceeded" in letter.error
    assert dead_letters.requeued(letter).args == list(WORDS)


def test_a_message_that_no_worker_knows_is_kept_until_one_does(
    worker: Worker, mailbox: Mailbox
) -> None:
    header = {"ledger_period": "2026-03-02"}
    result = app.send_task("core.tasks.of_the_next_release", ["words"], headers=header)
    letter = letter_of(result.id)
    assert (letter.task_name, letter.is_transient) == ("core.tasks.of_the_next_release", True)
    assert "never registered" in letter.error
    assert dead_letters.requeued(letter).options["headers"]["ledger_period"] == "2026-03-02"

    again = process_dead_letter.delay(letter.pk).get(timeout=30)["task_id"]
    assert letter_of(again).failures == 2

    known = str(letter.message).replace("of_the_next_release", "send_critical_alert")
    known = known.replace('["words"]', '["now", "it is known"]')
    last = rows.dead_letter()
    DeadLetter.objects.filter(pk=last.pk).update(message=known)
    process_dead_letter.delay(last.pk).get(timeout=30)
    wait_until(lambda: mailbox.subjects == ["[critical] now"])


def test_a_message_that_fails_in_two_deliveries_is_one_letter(
    worker: Worker, mailbox: Mailbox
) -> None:
    mailbox.unknown.add("gone@example.com")
    with crash_at("before_ack") as crash:
        result = send_critical_alert.delay(*WORDS)
    crash.wait()

    wait_until(lambda: worker.log.count(f"[{result.id}] raised") == 2, what="two failures")
    assert ExecutionEvent.objects.filter(kind="failed").count() == 2
    assert DeadLetter.objects.count() == 1
    assert "could not be recorded" not in worker.log


def test_tasks_outside_the_ledger_direct_calls_and_duplicates_leave_no_letter() -> None:
    with pytest.raises(Exception, match="no employee with id 0"):
        process_payroll(0, 2025, 10)
    dead_letters.record(health_check, "an id", OSError(), (), {})
    already = DuplicateExecution("a key")
    dead_letters.record(financial_transaction, "an id", already, (7,), {})

    assert DeadLetter.objects.count() == 0
    assert TaskExecution.objects.count() == 1


def test_only_what_may_pass_is_sent_again_by_itself_and_later_each_time() -> None:
    soon, later = rows.dead_letter(age_in_minutes=6), rows.dead_letter(failures=2, age_in_minutes=6)
    for never in ({"transient": False}, {"failures": dead_letters.MOST_FAILURES}):
        rows.dead_letter(age_in_minutes=10_000, **never)
    rows.dead_letter(age_in_minutes=4)

    assert dead_letters.due() == [soon]
    assert dead_letters.due(timezone.now() + dt.timedelta(minutes=5))[:2] == [soon, later]


def test_what_is_due_is_processed(worker: Worker, mailbox: Mailbox) -> None:
    rows.dead_letter(age_in_minutes=6)

    assert process_dead_letters.delay().get(timeout=30) == 1
    wait_until(lambda: mailbox.messages)
    assert process_dead_letters.delay().get(timeout=30) == 0
    assert len(mailbox.messages) == 1


def test_a_letter_that_was_dismissed_is_not_sent(broker: None) -> None:
    letter = rows.dead_letter()
    DeadLetter.objects.update(state="dismissed", decided_at=timezone.now())

    assert process_dead_letter(letter.pk) == {"dead_letter": letter.pk, "task_id": None}
    assert OutboxMessage.objects.count() == 0


def test_a_letter_that_is_not_there_says_so(settings: Any) -> None:
    with pytest.raises(LookupError, match="no dead letter 7"):
        process_dead_letter(7)
