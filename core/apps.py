"""The project's own app: what belongs to the installation rather than to the payroll."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"
