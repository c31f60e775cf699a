"""A Celery app of a test's own, the current one meanwhile, configured as it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.app import setup_default_app
from django.core.checks import CheckMessage, run_checks

IN_ORDER = {
    "broker_url": "redis://localhost",
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    "task_acks_on_timeout": False,
}

Told = Callable[..., list[CheckMessage]]


@pytest.fixture
def app() -> Iterator[Celery]:
    """Its tasks know its settings when somebody first looks: change those before."""
    app = Celery("checked", set_as_current=False, fixups=[], config_source=dict(IN_ORDER))
    with setup_default_app(app):  # puts back what was
        app.set_current()
        yield app


@pytest.fixture
def told(app: Celery) -> Told:
    """What is told of this id that names this task, or anything at all."""

    def told(id: str, task: Any = None) -> list[CheckMessage]:
        return [
            message
            for message in run_checks(tags=["ledger"], databases=[])
            if message.id == f"ledger.{id}" and (task is None or task.name in message.msg)
        ]

    return told
