"""The test suite's servers: embedded ones, started on demand, or those that DATABASE_URL and
CELERY_BROKER_URL name. Any number of test runs may share them: each process has its own database
and its own corner of the broker.
"""

import fcntl
import itertools
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from core import embedded
from tests.workers import Workers, empty_broker, leave_broker

pytest_plugins = ["ledger.testing.plugin"]  # installed, the ledger brings it by itself

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores Ctrl-C
embedded.start_configured()
hypothesis.settings.register_profile("patient", deadline=None)  # other tests share the processors
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests of hostile text log it, and reports travel between processes as UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    shown = report.longreprtext
    if (clean := shown.encode(errors="backslashreplace").decode()) != shown:
        report.longrepr = clean
    return report


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Give this process the first test databases that no other process of the checkout holds.

    A killed run lets go of its number, so its databases are reused rather than left behind; what
    may still be connected to them, such as a worker that outlived its test, is cut off.
    """
    folder = embedded.LOCAL / "test-databases"
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        lock = os.open(folder / str(number), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            os.close(lock)
    for connection in connections.all():
        test = connection.settings_dict["TEST"]
        test["NAME"] = f"{test['NAME'] or 'test_' + connection.settings_dict['NAME']}_{number}"
        with django_db_blocker.unblock(), connection._nodb_cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                [test["NAME"]],
            )
    yield
    os.close(lock)


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
