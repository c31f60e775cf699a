"""On real workers: what stands behind a delivery that met a living run, in chains and chords."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult

from ledger.testing import Worker
from tests.ledger.guarantees.barrier import Barrier
from tests.ledger.guarantees.tasks import AUTORETRY, CHOOSING, after, together
from tests.ledger.marks import commits
from tests.testapp.models import Effect

pytestmark = commits

EVERY = pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once", "at_most_once"])


class Busy:
    """A run that stands at a gate, and what follows other deliveries of the same call."""

    def __init__(self, task: Any, key: str, folder: Path) -> None:
        self.task, self.key = task, key
        self.gate = Barrier(folder)
        self.first: AsyncResult = task.apply_async([key], headers={"faults": [self.gate.fault()]})
        self.gate.wait_until_reached()

    def chained(self) -> AsyncResult:
        return chain(self.task.s(self.key), after.s(f"{self.key} after")).apply_async()

    def grouped(self) -> AsyncResult:
        return group(self.task.s(self.key), after.s(None, f"{self.key} beside")).apply_async()

    def in_a_chord(self) -> AsyncResult:
        members = [self.task.s(self.key), self.task.s(self.key)]
        return chord(members, together.s(f"{self.key} together")).apply_async()

    def effects(self) -> int:
        return Effect.objects.filter(key=self.key).count()


@EVERY
@pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"])
def test_retry_hands_the_result_on_when_it_is_there(
    worker: Worker, key: str, tmp_path: Path, guarantee: str, bound: bool
) -> None:
    busy = Busy(CHOOSING["retry", guarantee, bound], key, tmp_path)
    chained, grouped, whole = busy.chained(), busy.grouped(), busy.in_a_chord()
    worker.wait_for_log(f"[{chained.parent.id}] retry")
    busy.gate.open()

    assert chained.get(timeout=30) == "after 1"
    assert grouped.get(timeout=30) == [busy.first.get(timeout=30), "after None"]
    assert whole.get(timeout=30) == "after [1, 1]"
    assert busy.effects() == 1


@EVERY
@pytest.mark.parametrize("bound", [True, False], ids=["bound", "unbound"])
def test_skip_hands_none_on_at_once(
    worker: Worker, key: str, tmp_path: Path, guarantee: str, bound: bool
) -> None:
    busy = Busy(CHOOSING["skip", guarantee, bound], key, tmp_path)

    assert busy.chained().get(timeout=30) == "after None"
    assert busy.grouped().get(timeout=30) == [None, "after None"]
    assert busy.in_a_chord().get(timeout=30) == "after [None, None]"
    assert busy.first.state == "PENDING"
    busy.gate.open()

    assert busy.first.get(timeout=30)["attempt"] == 1
    assert busy.effects() == 1


@EVERY
def test_wait_hands_the_result_on_when_it_is_there(
    worker: Worker, key: str, tmp_path: Path, guarantee: str
) -> None:
    busy = Busy(CHOOSING["wait", guarantee, True], key, tmp_path)
    chained, whole = busy.chained(), busy.in_a_chord()  # each of the four processes is busy now
    busy.gate.open()

    assert chained.get(timeout=30) == "after 1"
    assert whole.get(timeout=30) == "after [1, 1]"
    assert busy.effects() == 1


@EVERY
def test_raise_ends_what_stands_behind_it(
    worker: Worker, key: str, tmp_path: Path, guarantee: str
) -> None:
    busy = Busy(CHOOSING["raise", guarantee, True], key, tmp_path)
    chained, whole = busy.chained(), busy.in_a_chord()

    for ended in (chained.parent, whole):
        with pytest.raises(Exception, match="another worker"):
            ended.get(timeout=30)
    assert not Effect.objects.filter(key__endswith="after").exists()
    assert not Effect.objects.filter(key__endswith="together").exists()
    busy.gate.open()
    busy.first.get(timeout=30)
    assert busy.effects() == 1


@pytest.mark.parametrize("choice", AUTORETRY)
def test_a_task_that_retries_in_progress_by_itself_hands_the_result_on_too(
    worker: Worker, key: str, tmp_path: Path, choice: str
) -> None:
    busy = Busy(AUTORETRY[choice], key, tmp_path)
    chained, whole = busy.chained(), busy.in_a_chord()
    worker.wait_for_log(f"[{chained.parent.id}] retry")
    busy.gate.open()

    assert chained.get(timeout=30) == "after 1"
    assert whole.get(timeout=30) == "after [1, 1]"
    assert busy.effects() == 1
