"""An alert reaches its recipients once, whatever the mail server and the worker go through."""

from typing import Any

import pytest
from pytest_django import Settings

from core.tasks import send_critical_alert
from ledger import check_idempotency_status
from ledger.models import TaskExecution
from ledger.testing import Clock, Worker, crash_at
from tests.core.operations.mail_server import Mailbox

pytestmark = pytest.mark.django_db(transaction=True)

DISK = ("disk", "The disk of db1 is full.")


def attempts() -> int:
    return TaskExecution.objects.get().attempt


def test_asked_for_many_times_at_once_it_is_sent_once(worker: Worker, mailbox: Mailbox) -> None:
    results = [send_critical_alert.delay(*DISK) for _ in range(8)]

    sent = {result.get(timeout=30)["sent_at"] for result in results}
    assert len(sent) == 1
    assert len(mailbox.messages) == 1


def test_other_words_and_other_people_are_another_alert(mailoutbox: list[Any]) -> None:
    for call in (DISK, ("disk", "The disk of db2 is full."), ("memory", DISK[1])):
        send_critical_alert(*call)
    send_critical_alert(*DISK, recipients=["night@example.com"])

    assert len(mailoutbox) == 4
    assert mailoutbox[3].to == ["night@example.com"]
    assert len({message.extra_headers["Message-ID"] for message in mailoutbox}) == 4


def test_the_same_words_are_news_again_after_a_day(
    mailoutbox: list[Any], ledger_clock: Clock
) -> None:
    send_critical_alert(*DISK)
    ledger_clock.forward(hours=23, minutes=59)
    send_critical_alert(*DISK)
    assert len(mailoutbox) == 1

    ledger_clock.forward(minutes=2)
    send_critical_alert(*DISK)
    assert len({message.extra_headers["Message-ID"] for message in mailoutbox}) == 2


@pytest.mark.parametrize(
    ("bad_days", "copies"),
    [(["refuse", "refuse"], 1), (["drop"], 2), (["delay"], 2)],
    ids=["refused", "dropped", "delayed"],
)
def test_a_mail_server_on_a_bad_day_is_asked_again(
    worker: Worker, mailbox: Mailbox, bad_days: list[str], copies: int
) -> None:
    """Of an answer that is lost nobody knows whether it was a yes: it is the same message twice."""
    mailbox.bad_days = list(bad_days)

    send_critical_alert.delay(*DISK).get(timeout=30)

    assert attempts() == 1 + len(bad_days)
    assert mailbox.subjects == ["[critical] disk"]
    assert len(mailbox.messages) == copies


def test_a_worker_killed_when_the_mail_is_out_sends_the_same_message(
    worker: Worker, mailbox: Mailbox
) -> None:
    with crash_at("in_body") as crash:
        result = send_critical_alert.delay(*DISK)
    crash.wait()
    result.get(timeout=30)

    assert attempts() == 2
    assert len(mailbox.messages) == 2
    assert mailbox.subjects == ["[critical] disk"]


@pytest.mark.parametrize("point", ["after_claim", "after_commit"])
def test_a_worker_killed_before_or_after_that_sends_it_once(
    worker: Worker, mailbox: Mailbox, point: str
) -> None:
    with crash_at(point) as crash:
        result = send_critical_alert.delay(*DISK)
    crash.wait()
    result.get(timeout=30)

    assert len(mailbox.messages) == 1


def test_an_address_that_nobody_has_is_not_tried_again(worker: Worker, mailbox: Mailbox) -> None:
    mailbox.unknown.add("gone@example.com")
    result = send_critical_alert.delay(*DISK, ["gone@example.com"])

    with pytest.raises(Exception, match="nobody of that name"):
        result.get(timeout=30)
    assert attempts() == 1


def test_an_alert_without_recipients_says_what_to_do(settings: Settings) -> None:
    settings.ALERT_RECIPIENTS = []
    with pytest.raises(ValueError, match="set ALERT_RECIPIENTS"):
        send_critical_alert(*DISK)


def test_a_line_break_in_its_type_does_not_reach_the_headers(mailoutbox: list[Any]) -> None:
    send_critical_alert("disk\nBcc: someone@example.com", "full")

    assert mailoutbox[0].subject == "[critical] disk Bcc: someone@example.com"


def test_its_state_can_be_asked_for(mailoutbox: list[Any]) -> None:
    send_critical_alert(*DISK)

    assert check_idempotency_status(send_critical_alert.name, DISK)["executed"]
    assert not check_idempotency_status(send_critical_alert.name, ["disk", "Other."])["executed"]
