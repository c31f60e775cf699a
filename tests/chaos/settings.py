"""The project's settings for chaos: impatient, so that what was broken comes back in seconds."""

import os

from kombu import Exchange, Queue

from core.settings import *
from core.settings import (
    CELERY_BROKER_TRANSPORT_OPTIONS,
    CELERY_BROKER_URL,
    INSTALLED_APPS,
    LOGGING,
)

INSTALLED_APPS = [*INSTALLED_APPS, "tests.testapp", "tests.chaos"]
LOGGING["root"]["handlers"] = ["console"]
QUEUE = os.environ.get("CHAOS_QUEUE", "chaos")
CELERY_TASK_DEFAULT_QUEUE = QUEUE
CELERY_TASK_QUEUES = [Queue(QUEUE, Exchange(QUEUE), routing_key=QUEUE)]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "global_keyprefix": f"{QUEUE}:",
        "unacked_restore_interval": 0.5,
    }
LEDGER = {
    "BUSY_COUNTDOWN_MAX": 2,
    "RECONNECT_SECONDS": 10,
    "RELAY_AFTER": 1,
}
