"""One set of real workers a module, and what the tests of the three guarantees look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from pytest_django import DjangoDbBlocker

from ledger.testing import Worker
from ledger.testing.worker import Workers, workers

TASKS = "tests.ledger.guarantees.tasks"


@pytest.fixture
def key() -> str:
    """An argument that no other test's calls share."""
    return uuid4().hex


@pytest.fixture(scope="module")
def _workers(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    broker: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("workers")
    with django_db_blocker.unblock(), workers("core.celery:app", folder) as started:
        yield started
        for worker in started.started:
            worker.kill()  # nobody waits for what it still does


@pytest.fixture
def worker(transactional_db: None, _workers: Workers) -> Iterator[Worker]:
    """One with four processes that knows ``tasks``; kept for the module while it lives. Published
    meanwhile is published to it."""
    living = [worker for worker in _workers.started if worker.is_alive]
    # Celery starts the clock of a hard limit when the soft one has passed, if there is one.
    limits = {"CELERY_TASK_SOFT_TIME_LIMIT": "0", "CELERY_TASK_ACKS_ON_TIMEOUT": "True"}
    worker = living[0] if living else _workers(4, include=[TASKS], environment=limits)
    seen = len(worker.log)
    yield worker
    print(worker.log[seen:])


@pytest.fixture
def start(transactional_db: None, _workers: Workers) -> Callable[..., Worker]:
    """Starts a further worker; the module's own is ended first, so that it gets the messages."""

    def start(concurrency: int = 1, *include: str) -> Worker:
        for worker in _workers.started:
            worker.kill()
        return _workers(concurrency, include=[TASKS, *include])

    return start
