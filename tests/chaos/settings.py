"""The project's settings for chaos: impatient, so that what was broken comes back in seconds."""

from kombu import Exchange, Queue

from core.settings import *
from core.settings import CELERY_BROKER_TRANSPORT_OPTIONS, CELERY_BROKER_URL, INSTALLED_APPS

MEMORY_LIMIT = 250 << 10
"""KiB, beyond which Celery replaces a pool process."""
INSTALLED_APPS = [*INSTALLED_APPS, "tests.testapp", "tests.chaos"]
CELERY_TASK_DEFAULT_QUEUE = "chaos"
CELERY_TASK_QUEUES = [Queue("chaos", Exchange("chaos"), routing_key="chaos")]
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = None
CELERY_TASK_ACKS_ON_TIMEOUT = True  # Celery's default, and the harder one: nobody delivers it again
CELERY_TASK_SOFT_TIME_LIMIT = None  # where there is one, Celery begins with that
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_LOST_WAIT = 0.5
CELERY_WORKER_MAX_MEMORY_PER_CHILD = MEMORY_LIMIT
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "global_keyprefix": "chaos:",
        "unacked_restore_interval": 0.5,
    }
LEDGER = {
    "BUSY_COUNTDOWN_MAX": 1,
    "RECONNECT_SECONDS": 10,
    "RELAY_AFTER": 1,
}
