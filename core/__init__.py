"""The project around the ledger: settings, Celery, URLs, and the servers it runs on."""

from core.celery import app as celery_app

__all__ = ["celery_app"]
