"""Arguments as JSON for people to read and search: by name, redacted, harmless to ``jsonb``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.db.models import Model

from .conf import setting

REDACTED = "[redacted]"
SHORTEST_SECRET = 4

MOST_TRACEBACK = 100_000
"""Characters of a traceback that are kept: an exception may quote a file, or a whole response."""

ROOM_FOR_NOTE = 60


def dump(arguments: Mapping[str, object], redact: frozenset[str]) -> str:
    """ASCII JSON. Beyond ``MAX_ARGUMENT_BYTES`` only the size is kept: the hash identifies them."""
    if redact:
        arguments = {
            name: REDACTED if name in redact else value for name, value in arguments.items()
        }
    try:
        text = _encode(arguments)
    except (ValueError, TypeError):
        text = json.dumps(_harmless(arguments))
    if "\\u0000" in text or "\\ud" in text:
        text = json.dumps(_harmless(arguments))
    if len(text) > setting("MAX_ARGUMENT_BYTES"):
        return json.dumps({"(not kept)": f"{len(text)} bytes"})
    return text


def text(value: object, limit: int | None = None) -> str:
    """Text that PostgreSQL can store: no NUL, no lone surrogate, at most ``limit`` characters."""
    return str(value)[:limit].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def shortened(value: str, limit: int) -> str:
    """As ``text``; of what is longer, both its ends, and how much was left out between them."""
    if len(value) > limit:
        end = (limit - ROOM_FOR_NOTE) // 2
        note = f" [… {len(value) - 2 * end:,} characters left out …] "
        value = f"{value[:end]}{note}{value[-end:]}"
    return text(value)


def error(raised: BaseException, without: Callable[[str], str] = str) -> str:
    """An exception in a line, at most 2000 characters; only its type where it cannot say more.
    ``without``: takes out what must not be kept."""
    try:
        return shortened(without(repr(raised)), 2000)
    except Exception:
        return f"{type(raised).__qualname__}(which cannot be described)"


def conceal(story: str, arguments: Mapping[str, object], redact: frozenset[str]) -> str:
    """A text without the values of these arguments, where it quotes them. Values of less than
    ``SHORTEST_SECRET`` characters stay: they stand for themselves in any text."""
    secrets = {leaf for name in redact for leaf in _leaves(arguments.get(name))}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            story = story.replace(secret, REDACTED)
    return story


def _leaves(value: object) -> Iterator[str]:
    """Every value in it as a text may quote it."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(_plain(value) if isinstance(value, Model) else value)
        yield repr(value).strip("'\"")


def _plain(value: object) -> Any:
    if isinstance(value, Model):
        return f"{value._meta.label_lower}:{value.pk}"
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return str(value)


def _harmless(value: object) -> Any:
    if isinstance(value, Mapping):
        return {text(name): _harmless(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_harmless(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return text(value if isinstance(value, str) else _plain(value))


_encode = json.JSONEncoder(default=_plain, allow_nan=False).encode
