"""What would break the protocol silently, found by ``manage.py check``; see ``docs/checks.md``.

settings        LEDGER itself                  coverage    tasks that nobody decided about
databases       PostgreSQL and what is in it   models      effects in another database
acknowledging   messages that are given back   messages    JSON, and publisher confirms
times           limits, waits and TTLs         refusals    retries of what will not change
"""

from __future__ import annotations

from django.core.checks import Tags, register

from .acknowledging import check_acknowledging
from .coverage import check_coverage
from .databases import check_databases
from .messages import check_messages
from .models import check_models
from .refusals import check_refusals
from .settings import check_settings
from .times import check_times

for check in (
    check_settings,
    check_coverage,
    check_acknowledging,
    check_messages,
    check_times,
    check_refusals,
    check_models,
):
    register(check, "ledger")
register(check_databases, "ledger", Tags.database)
