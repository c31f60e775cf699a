"""Real workers, started once a module, on the configured broker and on RabbitMQ where it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from kombu import Connection
from pytest_django import DjangoDbBlocker

from core.celery import app
from tests.ledger.workers.site import Gate, Site
from tests.workers import Workers

RABBITMQ = os.environ.get("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")


@pytest.fixture(scope="module")
def site(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    broker: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Workers on the configured broker."""
    site = Site(Workers(tmp_path_factory.mktemp("workers")), None, {})
    with django_db_blocker.unblock():
        try:
            yield site
        finally:
            site.workers.end()


@pytest.fixture(scope="module")
def rabbitmq(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    broker: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Workers on RabbitMQ; results go where the configured workers' go."""
    connection = app.connection_for_write(RABBITMQ)
    connection.transport_options = {"confirm_publish": True}
    _skip_unless_reachable(connection)
    environment = {
        "CELERY_BROKER_URL": RABBITMQ,
        "CELERY_RESULT_BACKEND": settings.CELERY_RESULT_BACKEND,
    }
    site = Site(Workers(tmp_path_factory.mktemp("workers")), connection, environment)
    with django_db_blocker.unblock(), connection:
        try:
            yield site
        finally:
            site.workers.end()
            site.forget_queue(settings.TEST_RUN)


@pytest.fixture(scope="module", params=["site", "rabbitmq"])
def each_site(request: pytest.FixtureRequest) -> Site:
    """Workers on the configured broker, then on RabbitMQ."""
    if request.param == "rabbitmq" and settings.CELERY_BROKER_URL.startswith("amqp"):
        pytest.skip("RabbitMQ is the configured broker")
    return request.getfixturevalue(request.param)


def _skip_unless_reachable(connection: Connection) -> None:
    try:
        connection.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:
        pytest.skip(f"no RabbitMQ at TEST_RABBITMQ_URL: {error!r}")


@pytest.fixture
def key() -> str:
    """A key that no other test's effects share."""
    return uuid4().hex


@pytest.fixture(autouse=True)
def committed(transactional_db: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here commits, and shows under its failure what the workers logged meanwhile."""
    yield
    for name in {"site", "rabbitmq", "each_site"}.intersection(request.fixturenames):
        request.getfixturevalue(name).show_log()


@pytest.fixture
def gate(committed: None, tmp_path: Path) -> Iterator[Gate]:
    """Where a body waits for the test. It opens when the test ends, so that the body ends too."""
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()
