from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error

from ..conf import KNOWN, unknown_settings


def check_settings(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    """``LEDGER`` holds only names that mean something."""
    return [
        Error(
            f"LEDGER has an unknown entry {name!r}.",
            hint=f"Known are {', '.join(KNOWN)}.",
            id="ledger.E001",
        )
        for name in unknown_settings()
    ]
