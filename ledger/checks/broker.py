"""What the settings say of the broker. Nothing here connects to it."""

from __future__ import annotations

from typing import Any

from celery import current_app


def transport() -> Any:
    """Kombu's transport class; its ``driver_type`` is ``amqp``, ``redis``, …"""
    return current_app.connection_for_write().get_transport_cls()


def visibility_timeout() -> float | None:
    """Seconds after which Redis delivers an unacknowledged message again; None for brokers that do
    not go by time."""
    kind = transport()
    if kind.driver_type != "redis":
        return None
    options = current_app.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout", kind.Channel.visibility_timeout))
