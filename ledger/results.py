"""Results as text, through kombu's JSON: a replay equals what a result backend would return."""

from __future__ import annotations

from json import JSONDecoder
from typing import Any

from kombu.utils.json import JSONEncoder, object_hook

from .conf import setting
from .exceptions import UnstorableResult

_encode = JSONEncoder(allow_nan=False).encode  # making one costs more than using it
_decode = JSONDecoder(object_hook=object_hook).decode


def dump(source: str, result: object, otherwise: str = "Everything it did was rolled back.") -> str:
    """The result as ASCII JSON. ``UnstorableResult`` where it is not serialisable or too large;
    it names the ``source`` and what ``otherwise`` becomes of it."""
    try:
        text: str = _encode(result)
        if '"__type__"' in text:  # kombu's tag for dates and such; a stranger's could not be loaded
            _decode(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableResult(
            f"{source} returned a {type(result).__name__} that cannot be stored as JSON "
            f"({error}). {otherwise} Return plain data: numbers, text, dates, Decimals, UUIDs, "
            "lists, dictionaries."
        ) from error
    limit = setting("MAX_RESULT_BYTES")
    if len(text) > limit:
        raise UnstorableResult(
            f"{source} returned {len(text):,} bytes of JSON; LEDGER['MAX_RESULT_BYTES'] is "
            f"{limit:,}. {otherwise} Store the data and return its id."
        )
    return text


def load(text: str | None) -> Any:
    """What ``dump`` wrote, as a result backend would return it."""
    return None if text is None else _decode(text)
