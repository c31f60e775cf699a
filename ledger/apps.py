from celery.signals import before_task_publish
from django.apps import AppConfig

from .periods import pin


class LedgerConfig(AppConfig):
    name = "ledger"
    verbose_name = "Idempotency ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        before_task_publish.connect(pin, weak=False, dispatch_uid="ledger.periods.pin")
        from . import checks  # noqa: F401
