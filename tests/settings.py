"""The project's settings, the tests' own app, and a corner of the broker for each test process.

A worker started by ``tests.workers`` is told by two variables which database and corner are its.
"""

import json
import os
from uuid import uuid4

from kombu import Exchange, Queue

from core.settings import *
from core.settings import (
    CELERY_BROKER_TRANSPORT_OPTIONS,
    CELERY_BROKER_URL,
    CELERY_RESULT_BACKEND,
    DATABASES,
    INSTALLED_APPS,
    LOGGING,
)

INSTALLED_APPS = [*INSTALLED_APPS, "tests.testapp", "examples"]
if test_database := os.environ.get("TEST_DATABASE"):
    DATABASES["default"]["NAME"] = test_database
# A second database of the same server, made only when a collected test asks for it: using= leads
# there.
DATABASES["second"] = DATABASES["default"] | {
    "TEST": {"NAME": f"test_{DATABASES['default']['NAME']}_second"}
}

TEST_RUN = os.environ.get("TEST_RUN") or f"test-{uuid4().hex[:12]}"
CELERY_TASK_DEFAULT_QUEUE = TEST_RUN
CELERY_TASK_QUEUES = [
    Queue(
        TEST_RUN,
        Exchange(TEST_RUN, auto_delete=True),
        routing_key=TEST_RUN,
        expires=3600,  # what a killed run leaves on RabbitMQ goes by itself
        queue_arguments=json.loads(os.environ.get("TEST_QUEUE_ARGUMENTS", "{}")),
    )
]
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "global_keyprefix": f"{TEST_RUN}:",
        "unacked_restore_interval": 0.2,
    }
if CELERY_RESULT_BACKEND.startswith("redis"):
    CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"global_keyprefix": f"{TEST_RUN}:"}

CELERY_TASK_ROUTES = {}
LOGGING["root"]["handlers"] = ["console"]

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
