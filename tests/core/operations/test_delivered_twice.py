"""Each operational task, of whose message two deliveries arrive, takes effect once."""

from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from core.tasks import process_dead_letter, send_critical_alert
from ledger.models import OutboxMessage, TaskExecution
from ledger.testing import assert_runs_once
from tests.core.operations import rows
from tests.core.operations.scenes import SCENES, Scene, named

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_delivered_twice(scene: Scene, settings: Settings, broker: None, tmp_path: Path) -> None:
    settings.LOG_FOLDER = str(tmp_path)
    scene.find(tmp_path)

    def effects() -> Any:
        ran = TaskExecution.objects.filter(task_name=scene.task.name, state="completed").count()
        return scene.count(), OutboxMessage.objects.count(), ran

    result = assert_runs_once(scene.task, *scene.args, effects=effects)

    assert scene.result.items() <= result.items()
    assert effects() == (scene.once, len(scene.mails), 1)


def test_an_alert_is_sent_once(mailoutbox: list[Any]) -> None:
    words = ("disk", "The disk of db1 is full.")
    result = assert_runs_once(send_critical_alert, *words, effects=lambda: len(mailoutbox))

    [message] = mailoutbox
    assert (message.subject, message.body) == ("[critical] disk", words[1])
    assert message.to == result["recipients"] == ["admin@localhost"]
    assert "T" in result["sent_at"]


def test_a_dead_letter_is_sent_again_once(broker: None) -> None:
    letter = rows.dead_letter()
    assert_runs_once(process_dead_letter, letter.pk, effects=OutboxMessage.objects.count)

    assert OutboxMessage.objects.count() == 1
