from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from celery import current_app
from django.core.checks import CheckMessage, Error, Warning

from .broker import driver_type
from .registered import place_of, protected

JSON = ("json", "application/json")


def check_messages(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """Arguments and results travel as JSON, which keys and replays are made for, and a message that
    was not taken is noticed."""
    return [*_not_json(), *_unconfirmed()]


def _not_json() -> Iterator[CheckMessage]:
    conf = current_app.conf
    for name in ("task_serializer", "result_serializer"):
        if conf[name] not in JSON:
            yield Error(
                f"CELERY_{name.upper()} is {conf[name]!r}: keys are made of arguments, and "
                "duplicates answered with results, as JSON carries them.",
                hint=f'Set CELERY_{name.upper()} = "json".',
                id="ledger.E007",
            )
    for name in ("accept_content", "result_accept_content"):
        accepted = conf[name]
        if accepted is not None and not set(accepted) & set(JSON):
            yield Error(
                f"CELERY_{name.upper()} is {list(accepted)!r}, without JSON: what the ledger "
                "publishes would be refused.",
                hint=f'Set CELERY_{name.upper()} = ["json"].',
                id="ledger.E007",
            )
    for task, _ in protected():
        if task.serializer not in (*JSON, conf.task_serializer):
            yield Error(
                f"{task.name} is sent as {task.serializer!r}: keys are made of arguments as JSON "
                "carries them.",
                hint=f"Remove serializer={task.serializer!r} from the task.",
                obj=place_of(task),
                id="ledger.E007",
            )


def _unconfirmed() -> Iterator[CheckMessage]:
    options = current_app.conf.broker_transport_options or {}
    if driver_type() == "amqp" and not options.get("confirm_publish"):
        yield Warning(
            "Messages are published to RabbitMQ without asking whether it took them: one that it "
            "cannot take is lost without a word.",
            hint='Set CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}.',
            id="ledger.W008",
        )
