from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Warning
from django.db import DEFAULT_DB_ALIAS, router

from ..options import Options
from .registered import AnyTask, place_of, protected


def check_models(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """An exactly-once task's effects are in its ledger's database, so that one commit is enough.

    Its effects are taken to be the models of the app in which it is defined; where ``using=`` is a
    callable, or the app has no models, nothing is known.
    """
    return [
        Warning(
            f"{task.name} is recorded in the database {ledger!r}, and the models of "
            f"{apps_label!r} are written to {', '.join(map(repr, sorted(elsewhere)))}: its effects "
            "and its completion are two commits.",
            hint=f"Write using={min(elsewhere)!r}, and run: python manage.py migrate ledger "
            f"--database {min(elsewhere)}.",
            obj=place_of(task),
            id="ledger.W007",
        )
        for task, options in protected()
        if (ledger := _ledger_of(options)) is not None
        for apps_label, elsewhere in _databases_of_models(task)
        if ledger not in elsewhere
    ]


def _ledger_of(options: Options) -> str | None:
    if options.guarantee != "exactly_once" or callable(options.using):
        return None
    return options.using or DEFAULT_DB_ALIAS


def _databases_of_models(task: AnyTask) -> list[tuple[str, set[str]]]:
    """The app in which a task is defined, and the databases its models are written to."""
    app = apps.get_containing_app_config(task.__module__)
    if app is None:
        return []
    databases = {router.db_for_write(model) for model in app.get_models()}
    return [(app.label, databases)] if databases else []
