"""A follow-up that no broker takes is given up by a person, and the ledger says so."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO

import psycopg
import pytest
from celery import shared_task
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg.errors import RaiseException

from ledger import current_execution, figures, idempotent_task
from ledger.models import ExecutionEvent, OutboxMessage, TaskExecution
from ledger.outbox import relay
from ledger.sweep import sweep
from ledger.testing import Clock
from tests.ledger.inbox import Inbox
from tests.ledger.marks import commits

pytestmark = commits


@shared_task
def send(number: int) -> None:
    """Never run here."""


@idempotent_task()
def pay(number: int) -> None:
    current_execution().enqueue(send.s(number))


@pytest.fixture
def message(inbox: Inbox, clock: Clock) -> OutboxMessage:
    """A follow-up that is committed, was tried once, and waits."""
    pay(7)
    inbox.queue.purge()
    OutboxMessage.objects.update(published_at=None, error="EncodeError('no')")
    clock.forward(minutes=10)
    return OutboxMessage.objects.get()


def discard(id: int, reason: str = "paid by hand", actor: str = "ada") -> str:
    out = StringIO()
    call_command(
        "ledger", "relay", "--discard", str(id), "--reason", reason, "--actor", actor, stdout=out
    )
    return out.getvalue()


def open_items() -> int:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from ledger_open_items where item = 'unpublished'")
        return int(cursor.fetchone()[0])


def test_it_waits_no_more_anywhere(message: OutboxMessage, inbox: Inbox) -> None:
    assert (figures.read().unpublished, open_items()) == (1, 1)
    assert figures.read().outbox_lag > 500

    assert discard(message.pk) == f"Gave up follow-up {message.pk}.\n"

    assert (figures.read().unpublished, figures.read().outbox_lag, open_items()) == (0, 0, 0)
    assert relay() == 0
    assert inbox.queue.get(no_ack=True) is None


def test_who_and_why_are_on_record(message: OutboxMessage) -> None:
    discard(message.pk)
    event = ExecutionEvent.objects.get()
    assert (event.execution_id, event.kind, event.actor) == (
        message.execution_id,
        "discarded",
        "ada",
    )
    assert event.reason == f"{send.name} {message.task_id}: paid by hand"
    message.refresh_from_db()
    assert message.is_discarded
    assert message.error == "given up: paid by hand; before: EncodeError('no')"
    with connection.cursor() as cursor:
        cursor.execute("select decision, actor from ledger_decisions")
        assert cursor.fetchall() == [("discarded", "ada")]


def test_its_execution_can_be_purged(message: OutboxMessage, clock: Clock) -> None:
    discard(message.pk)
    clock.forward(days=2)
    sweep()
    clock.forward(days=401)
    assert sweep()["purged"] == 1
    assert not TaskExecution.objects.exists()


def test_what_does_not_wait_cannot_be_given_up(message: OutboxMessage) -> None:
    with pytest.raises(CommandError, match="no follow-up 999 that waits"):
        discard(999)
    with pytest.raises(CommandError, match="reason= is required"):
        discard(message.pk, reason=" ")
    discard(message.pk)
    with pytest.raises(CommandError, match="that waits"):
        discard(message.pk)
    OutboxMessage.objects.update(error="")
    with pytest.raises(CommandError, match="that waits"):
        discard(message.pk)
    assert ExecutionEvent.objects.count() == 1
    with pytest.raises(CommandError, match="belong to --discard"):
        call_command("ledger", "relay", "--reason", "none")


@pytest.mark.parametrize(
    "change",
    [
        "message = '{}'",
        "task_name = 'another'",
        "task_id = 'another'",
        "execution_id = execution_id + 1",
        "created_at = now()",
        "id = id + 1",
    ],
)
def test_what_it_sends_is_what_was_committed(
    message: OutboxMessage, session: Callable[[], psycopg.Connection], change: str
) -> None:
    with pytest.raises(RaiseException, match="is sent as it was committed, or not at all"):
        session().execute(f"update ledger_outboxmessage set {change}".encode())
    unchanged = OutboxMessage.objects.values().get()
    assert unchanged == OutboxMessage.objects.filter(pk=message.pk).values().get()
    assert unchanged["message"] == message.message
