"""The project's own app: what belongs to the installation rather than to the payroll."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"

    def ready(self) -> None:
        from . import dead_letters  # noqa: F401  connects its receiver
