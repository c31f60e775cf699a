from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail
from django.core.mail import EmailMessage

from examples.once import send_alert
from ledger.testing import Clock, assert_runs_once
from tests.examples.marks import commits

pytestmark = commits


def test_one_alert_is_one_mail_however_often_it_is_raised() -> None:
    first = assert_runs_once(send_alert, "disk", "sda is full", effects=lambda: len(mail.outbox))
    assert send_alert("disk", message="sda is full") == first
    assert len(mail.outbox) == 1


def test_an_alert_with_another_text_is_not_swallowed() -> None:
    send_alert("disk", "sda is full")
    send_alert("disk", "sdb is full")
    assert [message.body for message in mail.outbox] == ["sda is full", "sdb is full"]


def test_the_same_alert_is_mailed_again_after_a_day(ledger_clock: Clock) -> None:
    send_alert("disk", "sda is full")
    ledger_clock.forward(hours=23)
    send_alert("disk", "sda is full")
    ledger_clock.forward(hours=2)
    send_alert("disk", "sda is full")
    assert len(mail.outbox) == 2


def test_a_mail_that_may_have_gone_out_is_sent_again_with_the_same_message_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = EmailMessage.send

    def send_and_lose_the_server(message: EmailMessage) -> None:
        send(message)
        raise SMTPServerDisconnected

    with monkeypatch.context() as flaky:
        flaky.setattr(EmailMessage, "send", send_and_lose_the_server)
        with pytest.raises(SMTPServerDisconnected):
            send_alert("disk", "sda is full")
    send_alert("disk", "sda is full")
    first, second = (message.extra_headers["Message-ID"] for message in mail.outbox)
    assert first == second
