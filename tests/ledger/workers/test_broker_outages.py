"""A broker that is lost in the body delivers again, and is answered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from django.conf import settings
from pytest_django import DjangoDbBlocker

from core.celery import app
from core.embedded import LOCAL, Valkey
from tests.chaos.proxy import Proxy
from tests.ledger.workers.site import Gate, Site, effects, events, state
from tests.testapp.protected import bound
from tests.workers import Workers, wait_until


class OwnBroker:
    """A Valkey that a test may kill, behind a network that it may cut; and workers on it."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        folder.mkdir(parents=True)
        self.server = Valkey(folder)
        self.server.start()
        self.proxy = Proxy(self.server.socket_path).start()
        url = f"redis://127.0.0.1:{self.proxy.port}/0"
        connection = app.connection_for_write(url)
        connection.transport_options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
        self.site = Site(workers, connection, {"CELERY_BROKER_URL": url})

    def lose_connections(self) -> None:
        assert self.proxy.cut_all()

    def die(self) -> None:
        """SIGKILL, and a new start on what it had on the disk."""
        process = psutil.Process(int((self.server.folder / "pid").read_text()))
        process.kill()
        process.wait(10)
        self.server.start()

    def end(self) -> None:
        self.site.workers.end()
        self.proxy.stop()
        self.server.stop()
        shutil.rmtree(self.server.folder.parent)


@pytest.fixture(scope="module")
def own(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OwnBroker]:
    workers = Workers(tmp_path_factory.mktemp("workers"))
    own = OwnBroker(LOCAL / "own-servers" / uuid4().hex[:8], workers)
    with django_db_blocker.unblock():
        yield own
        own.end()


@pytest.mark.parametrize(
    ("harm", "delivers_again"), [(OwnBroker.lose_connections, True), (OwnBroker.die, False)]
)
def test_a_broker_lost_in_the_body_delivers_again_and_is_answered(
    own: OwnBroker,
    key: str,
    gate: Gate,
    harm: Callable[[OwnBroker], None],
    delivers_again: bool,
) -> None:
    """Celery's worker may not outlive it itself: then it ends with its body, and another has to
    answer. Where the broker is back before the body ends, its message may be acknowledged after
    all."""
    own.site.kill_all()
    worker = own.site.start(visibility_timeout=1)
    own.site.publish(bound, key, faults=[gate.fault()])
    gate.wait_until_reached()

    harm(own)
    wait_until(
        lambda: worker.log.count("Connected to") > 1 or "Unrecoverable error" in worker.log,
        what="the worker to notice",
    )
    gate.open()

    def is_answered() -> bool:
        own.site.worker(visibility_timeout=1)
        return state(bound, key) == "completed" and len(events(bound, key)) >= delivers_again

    wait_until(is_answered, what="the end of it")
    assert len(effects(key)) == 1
