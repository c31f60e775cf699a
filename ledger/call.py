"""One call of a decorated function, with everything the protocol needs to know of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from . import keys, periods, readable
from .delivery import Delivery, arriving
from .execution import innermost
from .protection import Identity, Protected


class Call:
    """``period`` and the key are fixed here, once, before anything is claimed."""

    __slots__ = (
        "args", "database", "delivery", "identity", "key", "kwargs", "period", "period_start",
        "protected",
    )  # fmt: skip

    def __init__(
        self, protected: Protected, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> None:
        self.protected = protected
        self.args = args
        self.kwargs = kwargs
        self.delivery: Delivery = arriving(protected, args, nested=innermost() is not None)
        bound = protected.takes_self(args)
        own = args[1:] if bound else args
        self.identity: Identity = protected.identity(own, kwargs, bound=bound)
        self.database: str = protected.database(own, kwargs)
        self.period: str | None = None
        self.period_start: dt.date | None = None
        if kind := protected.options.period:
            period = periods.pinned(self.delivery.headers, kind) or periods.current(kind)
            self.period, self.period_start = period
        self.key = keys.compose(self.delivery.task_name, self.identity.key_hash, self.period)

    @property
    def ttl(self) -> dt.timedelta | None:
        return self.protected.options.ttl

    def body(self) -> Any:
        """Run the decorated function itself."""
        return self.protected.function(*self.args, **self.kwargs)

    def without_secrets(self, text: str) -> str:
        """The text without the values of the arguments that ``redact=`` names."""
        redact = self.protected.options.redact
        return readable.conceal(text, self.identity.arguments, redact) if redact else text

    def readable_arguments(self) -> str:
        return self.protected.readable_arguments(self.identity)
