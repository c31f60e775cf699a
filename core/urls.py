"""The admin, a health check for load balancers and containers, and metrics for Prometheus."""

from django.contrib import admin
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.generic import RedirectView

from core import mailbox
from ledger import metrics


def healthz(request: HttpRequest) -> JsonResponse:
    """200 where the database answers; its error becomes a 500, as it would for any page."""
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return JsonResponse({"status": "ok"})


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("mailbox/", mailbox.page),
    path("metrics", metrics.view),
]
