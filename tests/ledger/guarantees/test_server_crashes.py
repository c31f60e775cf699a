"""The database server crashes or restarts while a body is busy outside of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from core.embedded import LOCAL
from tests.ledger.guarantees.barrier import Barrier
from tests.ledger.guarantees.conftest import TASKS
from tests.ledger.guarantees.tasks import least, most
from tests.ledger.marks import commits
from tests.ledger.workers.own_database import OwnDatabase
from tests.workers import Workers, wait_until

pytestmark = [commits, pytest.mark.parametrize("task", [least, most])]


@pytest.fixture(scope="module")
def own() -> Iterator[OwnDatabase]:
    """A server that may be stopped. Not under tmp_path, which only its owner may enter."""
    folder = LOCAL / "own-servers" / uuid4().hex[:8]
    database = OwnDatabase(folder)
    yield database
    database.server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def running(workers: Workers, own: OwnDatabase) -> None:
    own.server.start()
    workers.start(environment=own.environment, options=("-I", TASKS))


def rows(own: OwnDatabase, key: str) -> list[tuple[str, int, int]]:
    return own.ask(
        "select state, attempt, crashes from ledger_taskexecution where arguments->>'key' = %s", key
    )


@pytest.mark.usefixtures("running")
def test_the_claim_survives_a_crash_of_the_server_at_the_beginning_of_the_body(
    own: OwnDatabase, key: str, tmp_path: Path, task: Any
) -> None:
    """Nothing but the claim has been committed, and the server writes down nothing by itself: had
    the claim not been durable, the crash would make it forget that the body has begun."""
    own.set("wal_writer_delay", "10s")
    gate = Barrier(tmp_path)
    result = task.apply_async((key,), headers={"faults": [gate.fault("started")]})
    gate.wait_until_reached()

    own.crash()
    own.server.start()

    assert rows(own, key) == [("running", 1, 0)]
    gate.open()
    assert result.get(timeout=30)["attempt"] == 1
    assert rows(own, key) == [("completed", 1, 0)]
    assert own.effects(key) == ["attempt 1"]


@pytest.mark.usefixtures("running")
def test_a_restart_of_the_server_during_the_body_costs_nothing(
    own: OwnDatabase, key: str, tmp_path: Path, task: Any
) -> None:
    gate = Barrier(tmp_path)
    result = task.apply_async((key,), headers={"faults": [gate.fault()]})
    gate.wait_until_reached()

    own.server.stop()
    gate.open()
    own.server.start()

    assert result.get(timeout=30)["attempt"] == 1
    wait_until(lambda: rows(own, key) == [("completed", 1, 0)])
    assert own.effects(key) == ["attempt 1"]
