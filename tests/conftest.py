"""The test suite's servers: embedded ones, started on demand, or those that DATABASE_URL and CELERY_BROKER_URL name."""

from core import embedded

embedded.start_configured()
