"""The test suite's servers: embedded ones, started on demand, or those that DATABASE_URL and CELERY_BROKER_URL name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import embedded
from tests.workers import Workers, empty_broker, leave_broker

embedded.start_configured()


@pytest.fixture(scope="session")
def broker() -> Iterator[None]:
    yield
    leave_broker()


@pytest.fixture
def workers(transactional_db: None, broker: None, tmp_path: Path) -> Iterator[Workers]:
    """Real Celery workers on this test's database: see ``tests.workers``."""
    empty_broker()
    workers = Workers(tmp_path)
    try:
        yield workers
    finally:
        workers.end()
