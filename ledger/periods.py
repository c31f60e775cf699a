"""The business date of a date-based key, pinned in the message when it is published.

A retry after midnight, a redelivery or the next link of a chain therefore stays the run of the day
it was published for. An explicit header, ``headers={"ledger_period": "2026-11-01"}``, backfills
another day. Direct and eager calls carry no headers: they mean today.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.utils import timezone

from .exceptions import UnusableArgument

PERIOD_HEADER = "ledger_period"


def today() -> dt.date:
    """Today in the project's time zone (``settings.TIME_ZONE``)."""
    return dt.datetime.now(timezone.get_default_timezone()).date()


def pin(headers: dict[str, Any], body: Any = None, **signal: Any) -> None:
    """Receiver of Celery's ``before_task_publish``. What a worker publishes when this task is done,
    the links of its chain and its callbacks, is part of the same run and gets the same date."""
    period = headers.setdefault(PERIOD_HEADER, today().isoformat())
    if not isinstance(body, tuple):
        return  # of Celery's first message protocol, which has no place for links
    embedded: dict[str, Any] = body[2]
    for name in ("chain", "callbacks", "errbacks"):
        if embedded.get(name):
            embedded[name] = [_pinned_link(link, period) for link in embedded[name]]
    if embedded.get("chord"):
        embedded["chord"] = _pinned_link(embedded["chord"], period)


def _pinned_link(link: dict[str, Any], period: str) -> dict[str, Any]:
    """A copy: the signature is its publisher's, who may publish it again tomorrow."""
    options = link.get("options") or {}
    headers = {PERIOD_HEADER: period, **(options.get("headers") or {})}
    return {**link, "options": {**options, "headers": headers}}


def pinned(headers: dict[str, Any] | None) -> dt.date | None:
    """The date a message was published for. ``UnusableArgument`` where it is no ISO date."""
    value = (headers or {}).get(PERIOD_HEADER)
    return None if value is None else parse(value, f"message header {PERIOD_HEADER!r}")


def parse(value: object, where: str) -> dt.date:
    """A date from a date or an ISO 8601 text such as ``2026-11-30``."""
    if isinstance(value, dt.datetime):
        raise UnusableArgument(f"{where} is a datetime; pass a date such as {value.date()}.")
    if isinstance(value, dt.date):
        return value
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    raise UnusableArgument(f"{where} is {value!r}; write a date as 2026-11-30.")
