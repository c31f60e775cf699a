"""Tasks for real workers. They are registered by the settings module tests.settings only."""

import os
import threading

from celery import Task, shared_task

from tests.testapp import protected  # noqa: F401  its tasks are registered with these
from tests.testapp.models import Effect


@shared_task
def write_effect(key: str, note: str = "") -> int:
    """Write one row, noting the pid that did it unless told otherwise."""
    return Effect.objects.create(key=key, note=note or str(os.getpid())).pk


@shared_task(bind=True)
def block_once(self: "Task[[str], str]", key: str) -> str:
    """On the first delivery write ``<key>: started`` and hang until killed; later finish."""
    if not Effect.objects.filter(key=key).exists():
        Effect.objects.create(key=key, note="started")
        threading.Event().wait()
    Effect.objects.create(key=key, note="finished")
    return "finished"
