"""Each operational task takes effect once, killed in the middle or retried."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from ledger.models import OutboxMessage, TaskExecution
from ledger.tasks import relay
from ledger.testing import Clock, Worker, crash_at
from tests.core.operations.mail_server import Mailbox
from tests.core.operations.scenes import SCENES, Scene, named
from tests.workers import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

each = pytest.mark.parametrize("scene", SCENES, ids=named)


@pytest.fixture
def found(scene: Scene, log_folder: Path) -> Scene:
    scene.find(log_folder)
    return scene


def attempts(scene: Scene) -> int:
    return TaskExecution.objects.get(task_name=scene.task.name).attempt


def assert_once(scene: Scene, result: dict[str, Any], mailbox: Mailbox) -> None:
    assert scene.result.items() <= result.items()
    assert scene.count() == scene.once
    wait_until(lambda: len(mailbox.subjects) >= len(scene.mails), what="the mails")
    assert tuple(mailbox.subjects) == scene.mails
    assert OutboxMessage.objects.count() == len(scene.mails)


@each
@pytest.mark.parametrize("point", ["in_body", "before_commit"])
def test_killed_before_its_commit(
    worker: Worker, mailbox: Mailbox, found: Scene, point: str
) -> None:
    with crash_at(point) as crash:
        result = found.task.delay(*found.args)
    crash.wait()

    assert_once(found, result.get(timeout=30), mailbox)
    assert attempts(found) == 2


@each
def test_killed_after_its_commit(
    worker: Worker, mailbox: Mailbox, found: Scene, ledger_clock: Clock
) -> None:
    with crash_at("after_commit") as crash:
        result = found.task.delay(*found.args)
    crash.wait()
    answer = result.get(timeout=30)
    ledger_clock.forward(seconds=11)
    assert relay() == len(found.mails)

    assert_once(found, answer, mailbox)
    assert attempts(found) == 1


@each
def test_retried_when_the_database_failed_for_a_while(
    worker: Worker, mailbox: Mailbox, found: Scene
) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"lock table {found.locked} in access exclusive mode")
        result = found.task.delay(*found.args)
        worker.wait_for_log(f"[{result.id}] retry")

    assert_once(found, result.get(timeout=30), mailbox)
    assert attempts(found) >= 2
