"""What the demo adds to its workers: they count their deliveries, and they die with it."""

import os
import signal
import threading
from typing import Any

from celery import signals
from django.db import connection

_delivery: int | None = None


@signals.worker_init.connect
def die_with_the_demo(**_: Any) -> None:
    """The demo holds the other end of standard input. It ends when the demo does, however that
    was, and then this worker's whole process group goes."""

    def wait() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


@signals.task_prerun.connect
def count_delivery(task_id: str, **_: Any) -> None:
    """On the connection that the body will use, so that the demo can tell whose session it is."""
    global _delivery
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO demo_delivery (task_id, process, session)"
            " VALUES (%s, %s, pg_backend_pid()) RETURNING id",
            [task_id, os.getpid()],
        )
        (_delivery,) = cursor.fetchone()


@signals.task_postrun.connect
def record_outcome(state: str | None, **_: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE demo_delivery SET outcome = %s WHERE id = %s", [state or "UNKNOWN", _delivery]
        )
