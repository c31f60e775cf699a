"""What still works while the database is down: an alert is sent, and a failure is not lost."""

from collections.abc import Iterator

import pytest

from core.tasks import health_check, send_critical_alert
from ledger.alarms import UNREACHABLE
from ledger.testing import Worker
from ledger.testing.worker import Workers
from tests.core.operations.mail_server import Mailbox
from tests.payroll.conftest import kept

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(
    transactional_db: None, _workers: Workers, _mailbox: tuple[Mailbox, str], mailbox: Mailbox
) -> Iterator[Worker]:
    """One whose database is where nobody answers."""
    nowhere = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing", "EMAIL_URL": _mailbox[1]}
    with kept(_workers, environment=nowhere) as worker:
        yield worker


def test_an_alert_is_sent_all_the_same(worker: Worker, mailbox: Mailbox) -> None:
    send_critical_alert.delay("database", "It cannot be reached.").get(timeout=30)

    assert mailbox.subjects == ["[critical] database"]
    assert "RUNS UNPROTECTED" in worker.log


def test_the_health_check_says_so_and_tells_the_admins(worker: Worker, mailbox: Mailbox) -> None:
    found = health_check.delay().get(timeout=30)

    assert found["problems"] == [UNREACHABLE.summary]
    assert "refused" in found["database"]["error"]
    assert found["broker"]["reachable"]
    [message] = mailbox.messages
    assert message["Subject"] == "[critical] LedgerUnreachable"


def test_a_failure_that_cannot_be_recorded_is_logged_with_its_message(
    worker: Worker, mailbox: Mailbox
) -> None:
    mailbox.unknown.add("gone@example.com")
    result = send_critical_alert.delay("database", "unrecorded words", ["gone@example.com"])

    with pytest.raises(Exception, match="nobody of that name"):
        result.get(timeout=30)
    worker.wait_for_log("could not be recorded: ")
    [line] = [line for line in worker.log.splitlines() if "could not be recorded" in line]
    assert "CRITICAL" in line
    assert "unrecorded words" in line
