"""The project's ``LEDGER`` setting: one dictionary, every entry optional.

=======================  =========  ================================================================
``RETENTION_DAYS``       400        how long a retired execution stays readable before it is purged
``MAX_RESULT_BYTES``     1_000_000  the largest result that is stored, as JSON
``MAX_ARGUMENT_BYTES``   100_000    arguments beyond this are hashed but not kept for people to read
``BUSY_COUNTDOWN``       1          seconds before the first copy of a delivery that was put back
``BUSY_COUNTDOWN_MAX``   60         the longest; keep it far below the broker's visibility timeout
``WAIT_SECONDS``         30         how long ``on_in_progress="wait"`` waits for another run
``RECONNECT_SECONDS``    15         how long a finished body tries to record it
``RELAY_AFTER``          10         seconds until an unpublished follow-up is left to the relay
``RELAY_BATCH``          100        follow-ups a relay publishes in one transaction
``SWEEP_BATCH``          1000       rows a sweep retires or purges in one transaction
``IGNORE_TASKS``         ``[]``     names of tasks, with ``*``, that ``ledger.W001`` says nothing of
``METRICS_TOKEN``        ``""``     what a scraper of ``ledger.metrics`` must send; empty: none may
=======================  =========  ================================================================
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

DEFAULTS: dict[str, int] = {
    "RETENTION_DAYS": 400,
    "MAX_RESULT_BYTES": 1_000_000,
    "MAX_ARGUMENT_BYTES": 100_000,
    "BUSY_COUNTDOWN": 1,
    "BUSY_COUNTDOWN_MAX": 60,
    "WAIT_SECONDS": 30,
    "RECONNECT_SECONDS": 15,
    "RELAY_AFTER": 10,
    "RELAY_BATCH": 100,
    "SWEEP_BATCH": 1000,
}
KNOWN = (*DEFAULTS, "IGNORE_TASKS", "METRICS_TOKEN")


def setting(name: str) -> int:
    """One entry of ``LEDGER``, or its default. ``ImproperlyConfigured`` unless a positive int."""
    value: Any = getattr(settings, "LEDGER", {}).get(name, DEFAULTS[name])
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ImproperlyConfigured(
            f"LEDGER[{name!r}] is {value!r}; it must be a whole number above 0 "
            f"(the default is {DEFAULTS[name]})."
        )
    return value


def metrics_token() -> str:
    """``LEDGER["METRICS_TOKEN"]``. ``ImproperlyConfigured`` unless it is text."""
    value: Any = getattr(settings, "LEDGER", {}).get("METRICS_TOKEN", "")
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"LEDGER['METRICS_TOKEN'] is {value!r}; it must be text.")
    return value


def ignored_tasks() -> list[str]:
    """``LEDGER["IGNORE_TASKS"]``. ``ImproperlyConfigured`` unless it is a list of text."""
    value: Any = getattr(settings, "LEDGER", {}).get("IGNORE_TASKS", [])
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ImproperlyConfigured(
            f"LEDGER['IGNORE_TASKS'] is {value!r}; it must be a list of names of tasks, such as "
            '["djcelery_email.*"].'
        )
    return list(value)


def unknown_settings() -> list[str]:
    """Names in ``LEDGER`` that mean nothing, sorted."""
    return sorted(set(getattr(settings, "LEDGER", {})) - set(KNOWN))
