"""The pytest plugin; see ``ledger.testing``. It asks for pytest-django's fixtures by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import run_lock
from .clock import Clock
from .worker import Workers, workers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "ledger_celery_app",
        "the Celery app of the fixture ledger_worker, as project.celery:app; found by itself where "
        "a module of the project holds it as app, celery or celery_app",
        default="",
    )


@pytest.fixture(autouse=True)
def _ledger_lets_go() -> Iterator[None]:
    """Django cannot drop a test database that run locks' connections are still using."""
    yield
    run_lock.close_all()


@pytest.fixture
def ledger_clock(db: None) -> Iterator[Clock]:
    """The ledger's clock in the test's database: ``ledger_clock.forward(hours=24)``."""
    clock = Clock()
    try:
        yield clock
    finally:
        clock.back()


@pytest.fixture
def ledger_worker(
    transactional_db: None, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Workers]:
    """Starts real workers on the test's database: ``ledger_worker()``, or as ``Workers`` says."""
    with workers(request.config.getini("ledger_celery_app"), tmp_path) as started:
        yield started
