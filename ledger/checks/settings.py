from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from ..conf import KNOWN, unknown_settings


def check_settings(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """``LEDGER`` holds only names that mean something, and times say when."""
    return [*_unknown(), *_without_time_zones()]


def _unknown() -> Iterator[CheckMessage]:
    for name in unknown_settings():
        yield Error(
            f"LEDGER has an unknown entry {name!r}.",
            hint=f"Known are {', '.join(KNOWN)}.",
            id="ledger.E001",
        )


def _without_time_zones() -> Iterator[CheckMessage]:
    if not settings.USE_TZ:
        yield Error(
            "USE_TZ is False: the ledger's times are moments, and its pages and reports cannot "
            "show them without a time zone.",
            hint="Set USE_TZ = True, and TIME_ZONE to the one in which your days begin.",
            id="ledger.E009",
        )
