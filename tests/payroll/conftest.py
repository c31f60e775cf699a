import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from ledger.testing import Worker
from ledger.testing.worker import Workers, workers
from tests.payroll import manage as commands
from tests.payroll.manage import Manage
from tests.workers import wait_until


@pytest.fixture
def second_session(transactional_db: None) -> Iterator[Callable[[str, tuple[Any, ...]], bool]]:
    """Runs a query on another connection and says whether it found a row."""
    connection.ensure_connection()
    info = connection.connection.info
    other = psycopg.connect(info.dsn, password=info.password, autocommit=True)

    def found(query: str, parameters: tuple[Any, ...] = ()) -> bool:
        return other.execute(query, parameters).fetchone() is not None

    try:
        yield found
    finally:
        other.close()


@pytest.fixture
def manage() -> Manage:
    return commands.manage


@pytest.fixture(scope="module")
def _workers(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    broker: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workers]:
    with (
        django_db_blocker.unblock(),
        workers("core.celery:app", tmp_path_factory.mktemp("workers")) as started,
    ):
        yield started


@contextmanager
def kept(workers: Workers, **options: Any) -> Iterator[Worker]:
    """A worker with two processes, kept for the module while it lives; what it logs meanwhile is
    printed. Before the database is emptied, it finishes what it was sent."""
    living = [worker for worker in workers.started if worker.is_alive]
    worker = living[0] if living else workers(2, **options)
    seen = len(worker.log)
    try:
        yield worker
        wait_until(lambda: not _unfinished(worker.log[seen:]), what="the end of the worker's tasks")
    finally:
        print(worker.log[seen:])


TURN = re.compile(r"Task \S+\[(\S+)\] (received|succeeded|raised|retry|ignored|rejected)")


def _unfinished(log: str) -> bool:
    """Whether a task's last word is that it was received: it runs, or waits, or comes again."""
    return "received" in dict(TURN.findall(log)).values()


@pytest.fixture
def worker(transactional_db: None, _workers: Workers) -> Iterator[Worker]:
    """What is published meanwhile is published to it."""
    with kept(_workers) as worker:
        yield worker
