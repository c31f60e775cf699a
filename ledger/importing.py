"""The tasks that a worker knows, in a process that has not met them: a web process imports no
module of tasks unless something else asks for it, and would take its tasks for plain names."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from celery import current_app
from django.conf import settings
from django.urls import get_script_prefix, set_script_prefix

from .exceptions import LedgerError

_done: WeakSet[Any] = WeakSet()
"""Loaders whose modules are imported. Each Celery app has one, and the project's may become the
current one late."""

_here = threading.local()


def import_tasks() -> None:
    """Import what a worker imports when it starts, once. ``LedgerError`` where that cannot be done;
    it is tried again the next time.

    No lock: two threads may import at once, which Python sorts out, while a lock could be waited
    for by who holds a module's, or stay locked in a fork. A module that asks while it is being
    imported goes on with what is known by then.
    """
    loader = current_app.loader
    if loader in _done or loader.worker_initialized or getattr(_here, "importing", False):
        return
    _here.importing = True
    try:
        with _nothing_but_imports():
            loader.import_default_modules()
    except Exception as error:
        raise LedgerError(
            f"The modules of tasks cannot be imported ({error!r}), so it is not known which tasks "
            "there are. No worker would start either: see manage.py check, ledger.E008."
        ) from error
    finally:
        _here.importing = False
    _done.add(loader)


@contextmanager
def _nothing_but_imports() -> Iterator[None]:
    """Before it imports tasks, Celery's Django fix-up runs all system checks, which import tasks,
    and sets Django up anew: whatever handles the logs by now would be replaced, and the script
    prefix of the request that is being answered. Threads may do this at once."""
    prefix, configured = get_script_prefix(), settings.LOGGING_CONFIG
    if configured:
        settings.LOGGING_CONFIG = None  # which setting Django up reads, and nothing else
    ours = not os.environ.get("CELERY_SKIP_CHECKS")
    if ours:
        os.environ["CELERY_SKIP_CHECKS"] = "1"
    try:
        yield
    finally:
        if ours:
            os.environ.pop("CELERY_SKIP_CHECKS", None)
        if configured:
            settings.LOGGING_CONFIG = configured
        set_script_prefix(prefix)
