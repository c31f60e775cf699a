"""The project's settings, on the demo's own database and queue, which two variables name."""

import os

from kombu import Exchange, Queue

from core.settings import *
from core.settings import CELERY_BROKER_TRANSPORT_OPTIONS, CELERY_BROKER_URL, DATABASES, LOGGING

DATABASES = {
    **DATABASES,
    "default": {**DATABASES["default"], "NAME": os.environ["DEMO_DATABASE"]},
}
LOGGING["root"]["handlers"] = ["console"]
LEDGER = {"BUSY_COUNTDOWN_MAX": 2}  # far below the visibility timeout
# The month is posted, and nothing leaves the house: no payment, no e-mail.
PAYROLL_FOLLOW_UPS = False
BANK_URL = ""

QUEUE = os.environ["DEMO_QUEUE"]
CELERY_IMPORTS = ["payroll.demo.tasks", "payroll.demo.worker"]
CELERY_TASK_DEFAULT_QUEUE = QUEUE
CELERY_TASK_QUEUES = [
    Queue(
        QUEUE,
        Exchange(QUEUE, auto_delete=True),
        routing_key=QUEUE,
        expires=3600,  # what a killed demo leaves on RabbitMQ goes by itself
    )
]
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # it would leave queues of its own behind
CELERY_WORKER_LOST_WAIT = 1.0  # seconds until a killed pool process counts as lost, instead of ten
if CELERY_BROKER_URL.startswith("redis"):
    # What a killed worker held comes back within seconds, instead of an hour.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        **CELERY_BROKER_TRANSPORT_OPTIONS,
        "global_keyprefix": f"{QUEUE}:",
        "visibility_timeout": 10,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
