from importlib.util import find_spec

from celery.signals import before_task_publish
from django.apps import AppConfig

from . import early, periods


class LedgerConfig(AppConfig):
    name = "ledger"
    verbose_name = "Idempotency ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        before_task_publish.connect(periods.pin, weak=False, dispatch_uid="ledger.periods.pin")
        before_task_publish.connect(early.warn, weak=False, dispatch_uid="ledger.early.warn")
        from . import checks  # noqa: F401

        if find_spec("prometheus_client"):
            from .metrics import errors

            errors.count()
