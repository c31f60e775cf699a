"""From a call to its key: canonical arguments, their hash, ``idempotent:{task}:{hash}[:{period}]``.

Two calls are the same execution when their canonical arguments are equal. The canonical text is
plain JSON for what JSON can say and a tagged form (``decimal"1.5"``) for the rest, so that ``1``,
``"1"``, ``True`` and ``Decimal("1")`` all differ, while a list and a tuple, or two orders of one
dictionary, do not. What has no stable value is refused by name, never hashed by its ``repr``.

An argument that equals its parameter's default is left out, as if it had not been given: a
parameter with a default may be added to a task while its messages are under way.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from json.encoder import encode_basestring_ascii as _quote
from typing import Any

from django.db.models import Model

from .exceptions import UnusableArgument

KEY_PREFIX = "idempotent"
MAX_TASK_NAME = 200
MAX_KEY = 300
MAX_STEP_NAME = 200

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# The thread's own context would round, and so make one key of two amounts.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def canonical(value: object, where: str) -> str:
    """One value as canonical text. ``where`` names the argument in an error about its type."""
    encode = _ENCODERS.get(type(value))
    if encode is None:
        encode = _encoder_for_subclass(value, where)
    return encode(value, where)


def canonical_arguments(
    args: Sequence[object],
    kwargs: Mapping[str, object],
    defaults: Sequence[str | None] = (),
    named_defaults: Mapping[str, str] = {},
) -> str:
    """Positional values by position and keyword-only values by name, as canonical text. Defaults
    are given as canonical text too; None is equal to nothing."""
    try:
        positional = canonical_values(args, defaults)
        return f"{positional}{{{_named(kwargs, named_defaults)}}}"
    except RecursionError:
        raise UnusableArgument(
            "an argument is nested too deeply, or contains itself. Pass flat data, or an id."
        ) from None


def canonical_values(values: Sequence[object], defaults: Sequence[str | None] = ()) -> str:
    """Values by position: nothing in the place of a default, and no place for it at the end."""
    texts = [canonical(value, f"argument {i}") for i, value in enumerate(values)]
    if defaults:
        for i, default in enumerate(defaults[: len(texts)]):
            if texts[i] == default:
                texts[i] = ""
        while texts and not texts[-1]:
            texts.pop()
    return f"[{','.join(texts)}]"


def _named(kwargs: Mapping[str, object], defaults: Mapping[str, str]) -> str:
    texts = {name: canonical(kwargs[name], f"argument {name!r}") for name in sorted(kwargs)}
    return ",".join(
        [f"{_quote(name)}:{text}" for name, text in texts.items() if text != defaults.get(name)]
    )


def hash_of(text: str) -> str:
    """SHA-256 of canonical text, in hexadecimal (64 characters)."""
    return hashlib.sha256(text.encode()).hexdigest()


def compose(task_name: str, arguments_hash: str, period: str | None) -> str:
    """The key itself; ``period`` is a label. ``UnusableArgument`` where the task's name is too long
    to store."""
    if not task_name or len(task_name) > MAX_TASK_NAME:
        raise UnusableArgument(
            f"task name {task_name[:60]!r}… has {len(task_name)} characters; the ledger stores 1 "
            f"to {MAX_TASK_NAME}. Give the task a shorter name=."
        )
    if _UNSTORABLE.search(task_name):
        raise UnusableArgument(
            f"task name {task_name!r} contains a NUL or a lone surrogate. Rename the task."
        )
    key = f"{KEY_PREFIX}:{task_name}:{arguments_hash}"
    return key if period is None else f"{key}:{period}"


def task_of(key: str) -> str:
    """The task's name in a key. ``UnusableArgument`` where it is no key of the ledger's."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise UnusableArgument(
            f"{key!r:.120} is no key of the ledger's; one reads idempotent:task:hash[:period]."
        )
    return found["task"]


_PERIOD = r"\d{4}-(W\d\d|\d\d(-\d\d(T\d\d([+-]\d\d:\d\d)?)?)?)"
_KEY = re.compile(KEY_PREFIX + rf":(?P<task>.+):[0-9a-f]{{64}}(:{_PERIOD})?", re.DOTALL)


def _scalar(text: Callable[[Any], str]) -> Callable[[Any, str], str]:
    return lambda value, where: text(value)


def _tagged(tag: str, text: Callable[[Any], str]) -> Callable[[Any, str], str]:
    return lambda value, where: f"{tag}{_quote(text(value))}"


def _sequence(value: Sequence[object], where: str) -> str:
    return "[" + ",".join([canonical(v, f"{where}[{i}]") for i, v in enumerate(value)]) + "]"


def _mapping(value: Mapping[object, object], where: str) -> str:
    entries: dict[str, str] = {}
    for name, item in value.items():
        text = _json_name(name, where)
        if text in entries:
            raise UnusableArgument(
                f"{where} has two keys that are both {text!r} once sent as JSON. Make them differ."
            )
        entries[text] = canonical(item, f"{where}[{name!r}]")
    return "{" + ",".join([f"{_quote(name)}:{entries[name]}" for name in sorted(entries)]) + "}"


def _json_name(name: object, where: str) -> str:
    """A dictionary key as it arrives at a worker, where JSON has made text of it."""
    if isinstance(name, str):
        return str.__str__(name)
    try:
        (text,) = json.loads(json.dumps({name: None}))
    except TypeError:
        raise UnusableArgument(
            f"{where} has a dictionary key of type {type(name).__name__}, which JSON cannot carry. "
            "Use text keys."
        ) from None
    return str(text)


def _set(value: frozenset[object], where: str) -> str:
    return "set[" + ",".join(sorted([canonical(v, where) for v in value])) + "]"


def _decimal(value: Decimal) -> str:
    return str(_EXACT.plus(value.normalize(_EXACT))) if value.is_finite() else str(value)


def _datetime(value: dt.datetime, where: str) -> str:
    if value.utcoffset() is None:
        return f"datetime{_quote(value.isoformat())}"
    return f"instant{_quote(value.astimezone(dt.UTC).isoformat())}"


def _time(value: dt.time) -> str:
    return value.isoformat()


def _model(value: Model, where: str) -> str:
    if value.pk is None:
        raise UnusableArgument(
            f"{where} is an unsaved {value._meta.label}, which has no primary key to be known by. "
            "Save it first, or pass a value that identifies it."
        )
    return f"model{_quote(value._meta.label_lower)}:{canonical(value.pk, where)}"


_ENCODERS: dict[type, Callable[[Any, str], str]] = {
    int: _scalar(int.__repr__),
    str: _scalar(_quote),
    type(None): _scalar(lambda value: "null"),
    bool: _scalar(lambda value: "true" if value else "false"),
    float: _scalar(float.__repr__),
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
    Decimal: _tagged("decimal", _decimal),
    uuid.UUID: _tagged("uuid", str),
    dt.datetime: _datetime,
    dt.date: _tagged("date", dt.date.isoformat),
    dt.time: _tagged("time", _time),
    dt.timedelta: _tagged("timedelta", lambda d: f"{d.days}:{d.seconds}:{d.microseconds}"),
    bytes: _tagged("bytes", bytes.hex),
}


def _enum(value: enum.Enum, where: str) -> str:
    return canonical(value.value, where)


# Order matters: an IntEnum is an int, and a datetime a date.
_SUBCLASSES: tuple[tuple[type, Callable[[Any, str], str]], ...] = (
    (enum.Enum, _enum),
    (Model, _model),
    (str, lambda value, where: _quote(str.__str__(value))),
    (int, _ENCODERS[int]),
    (float, _ENCODERS[float]),
    (dt.datetime, _datetime),
    (dt.date, _ENCODERS[dt.date]),
    (dict, _mapping),
    (list, _sequence),
    (tuple, _sequence),
    (uuid.UUID, _ENCODERS[uuid.UUID]),
    (Decimal, _ENCODERS[Decimal]),
)


def _encoder_for_subclass(value: object, where: str) -> Callable[[Any, str], str]:
    for kind, encode in _SUBCLASSES:
        if isinstance(value, kind):
            return encode
    raise UnusableArgument(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}, which has no stable "
        "value to make a key of. Pass an id or plain data, or choose the identifying arguments "
        "with key=."
    )
