"""A worker for each module, with a mail server and a folder of log files of its own."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from ledger.testing import Worker
from ledger.testing.worker import Workers
from tests.core.operations.mail_server import Mailbox, controller
from tests.payroll.conftest import _workers, kept

__all__ = ["_workers"]


@pytest.fixture
def silent_ledger(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table that the figures need is somebody else's for the whole test."""
    monkeypatch.setattr("ledger.figures.PATIENCE", "100ms")
    connection.ensure_connection()
    info = connection.connection.info
    with psycopg.connect(info.dsn, password=info.password) as somebody:
        somebody.execute("lock table ledger_tally in access exclusive mode")
        yield


@pytest.fixture(scope="module")
def _mailbox() -> Iterator[tuple[Mailbox, str]]:
    mailbox = Mailbox()
    server = controller(mailbox)
    server.start()
    try:
        yield mailbox, f"smtp://{server.hostname}:{server.port}"
    finally:
        server.stop()


@pytest.fixture
def mailbox(_mailbox: tuple[Mailbox, str]) -> Mailbox:
    """What the worker's mail server has taken in this test."""
    _mailbox[0].clear()
    return _mailbox[0]


@pytest.fixture(scope="module")
def _log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture
def log_folder(_log_folder: Path) -> Path:
    """The worker's, empty."""
    for path in _log_folder.iterdir():
        path.unlink()
    return _log_folder


@pytest.fixture
def worker(
    transactional_db: None,
    _workers: Workers,
    _mailbox: tuple[Mailbox, str],
    mailbox: Mailbox,
    _log_folder: Path,
) -> Iterator[Worker]:
    """What is published meanwhile is published to it. It waits for no lock for long: a table that
    the test has locked is a database that fails for a while."""
    told = {
        "EMAIL_URL": _mailbox[1],
        "EMAIL_TIMEOUT": "0.5",
        "LOG_FOLDER": str(_log_folder),
        "PGOPTIONS": "-c lock_timeout=200ms",
        "CELERY_TASK_SOFT_TIME_LIMIT": "0",  # a hard limit waits for the soft one, if there is one
    }
    with kept(_workers, environment=told) as worker:
        yield worker
