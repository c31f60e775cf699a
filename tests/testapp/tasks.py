"""Tasks for real workers. They are registered by the settings module tests.settings only."""

from celery import shared_task

from tests.testapp.models import Effect


@shared_task
def write_effect(key: str, note: str = "") -> int:
    return Effect.objects.create(key=key, note=note).pk
