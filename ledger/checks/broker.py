"""What the settings say of the broker. Nothing here connects to it, or fails without its client."""

from __future__ import annotations

from typing import Any

from celery import current_app


def driver_type() -> str | None:
    """``amqp``, ``redis``, …; None where Celery has no such transport here."""
    return getattr(_transport(), "driver_type", None)


def visibility_timeout() -> float | None:
    """Seconds after which Redis delivers an unacknowledged message again; None for brokers that do
    not go by time."""
    if driver_type() != "redis":
        return None
    options = current_app.conf.broker_transport_options or {}
    return float(options.get("visibility_timeout", _transport().Channel.visibility_timeout))


def _transport() -> Any:
    try:
        return current_app.connection_for_write().get_transport_cls()
    except Exception:
        return None
