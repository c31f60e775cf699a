"""The Celery application. Importing it starts nothing; a worker or beat starts what it needs."""

import os
from pathlib import Path
from typing import Any

from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")

app = Celery("core")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect
@signals.beat_init.connect
def start_embedded_servers(**_: Any) -> None:
    from core import embedded

    embedded.start_configured()


@signals.beat_init.connect
def make_room_for_schedule(sender: Any, **_: Any) -> None:
    Path(sender.schedule_filename).parent.mkdir(parents=True, exist_ok=True)


@signals.setup_logging.connect
def keep_logging_of_settings(**_: Any) -> None:
    """Any receiver at all keeps Celery from setting up its own logging over settings.LOGGING."""
