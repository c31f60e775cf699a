from __future__ import annotations

import secrets

from django.db import DEFAULT_DB_ALIAS, Error, transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ..conf import metrics_token
from .collector import LedgerCollector
from .errors import ErrorsCollector

REFUSAL = (
    "The metrics are for who sends 'Authorization: Bearer …' with LEDGER['METRICS_TOKEN'], and for "
    "users who are logged in and may view executions.\n"
)


@never_cache
@require_safe
@transaction.non_atomic_requests  # it answers where the database does not
def view(request: HttpRequest, database: str = DEFAULT_DB_ALIAS) -> HttpResponse:
    """The metrics of one ledger as Prometheus reads them: 200, with ``ledger_up 0`` alone where its
    database does not answer; 401 for those who may not know."""
    if not (_has_token(request) or _may_view(request)):
        return HttpResponse(
            REFUSAL, status=401, content_type="text/plain", headers={"WWW-Authenticate": "Bearer"}
        )
    registry = CollectorRegistry()
    registry.register(LedgerCollector(database))
    registry.register(ErrorsCollector())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = metrics_token()
    return (
        bool(token)
        and scheme.lower() == "bearer"
        and secrets.compare_digest(given.strip().encode(), token.encode())
    )


def _may_view(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    try:
        return user is not None and bool(user.has_perm("ledger.view_taskexecution"))
    except Error:  # no session can be read
        return False
