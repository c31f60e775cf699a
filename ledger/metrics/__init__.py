"""The ledger for Prometheus: needs ``pip install django-task-ledger[metrics]``.

    path("metrics", ledger.metrics.view)

or, where a project has an exposition of its own:
``prometheus_client.REGISTRY.register(LedgerCollector())``.

All but ``ledger_errors_total`` is read from the database at each scrape, so one scrape of one
process tells of all workers. That one is each process's own: workers and web share theirs if
``PROMETHEUS_MULTIPROC_DIR`` names one folder for all of them, as prometheus_client documents.
"""

from .collector import LedgerCollector
from .exposition import view

__all__ = ["LedgerCollector", "view"]
