"""A Celery application on the embedded Valkey, where the guards' locks are as well."""

import redis
from celery import Celery
from celery.signals import task_postrun
from django.conf import settings

from core.embedded import LOCAL, Valkey

valkey = Valkey(LOCAL)
DATABASE = 2

app = Celery("comparison", set_as_current=False)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    broker_read_url=valkey.url(DATABASE),  # broker_url would yield to CELERY_BROKER_URL
    broker_write_url=valkey.url(DATABASE),
    result_backend=valkey.url(DATABASE),
    broker_transport_options={
        "global_keyprefix": f"{settings.TEST_RUN}:",
        "visibility_timeout": 3600,
        "unacked_restore_interval": 0.2,
    },
    result_backend_transport_options={"global_keyprefix": f"{settings.TEST_RUN}:"},
    ONCE={
        "backend": "celery_once.backends.Redis",
        "settings": {
            "url": f"redis+socket://{valkey.socket_path}?db={DATABASE}",
            "default_timeout": 3600,
        },
    },
    singleton_backend_url=valkey.cache_url(DATABASE),
    singleton_key_prefix=f"{settings.TEST_RUN}:singleton:",
    singleton_lock_expiry=3600,
)


def client() -> redis.Redis:
    return redis.Redis.from_url(valkey.cache_url(DATABASE))


@task_postrun.connect
def _count_the_end(task: object, args: tuple[str, ...], **signal: object) -> None:
    if getattr(task, "app", None) is app:
        client().incr(f"{args[0]}:ended")
