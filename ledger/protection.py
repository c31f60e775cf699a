"""A decorated function: what its calls are called, and which calls are the same."""

from __future__ import annotations

import datetime as dt
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from celery import Task, current_app
from django.db import DEFAULT_DB_ALIAS, connections

from . import keys, periods, readable
from .exceptions import UnusableArgument
from .importing import import_tasks
from .options import Options

logger = logging.getLogger("ledger")

MARK = "__ledger__"
"""Attribute of a decorated function that holds its ``Protected``."""

_by_qualified_name: dict[str, Protected] = {}

_FIXED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Identity:
    """One call's canonical identity: the hash its key is made of, the hash of all its arguments,
    and the arguments by name."""

    __slots__ = ("args_hash", "arguments", "key_hash")

    def __init__(self, key_hash: str, args_hash: str, arguments: Mapping[str, object]) -> None:
        self.key_hash = key_hash
        self.args_hash = args_hash
        self.arguments = arguments


class Parameters:
    """A function's parameters, without the ``self`` that Celery binds."""

    def __init__(self, signature: inspect.Signature) -> None:
        self.signature = signature
        self.names = tuple(signature.parameters)
        fixed = [p for p in signature.parameters.values() if p.kind in _FIXED]
        self.all_positional = len(fixed) == len(self.names)
        self.default_texts = texts = _default_texts(signature)
        self._positional = [texts.get(p.name) for p in fixed] if texts else []
        self._named = {
            name: text
            for name, text in texts.items()
            if signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        }

    def without_first(self) -> Parameters:
        rest = list(self.signature.parameters.values())[1:]
        return Parameters(self.signature.replace(parameters=rest))

    def bind(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[Sequence[object], Mapping[str, object], Mapping[str, object]]:
        """Values by position, keyword-only values, and all of them by parameter name."""
        if not kwargs and self.all_positional and len(args) == len(self.names):
            return args, {}, dict(zip(self.names, args, strict=True))
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args, bound.kwargs, bound.arguments

    def canonical(self, positional: Sequence[object], named: Mapping[str, object]) -> str:
        """The bound values as canonical text."""
        return keys.canonical_arguments(positional, named, self._positional, self._named)


def _default_texts(signature: inspect.Signature) -> dict[str, str]:
    """Defaults as canonical text, by parameter, of those that have one."""
    texts: dict[str, str] = {}
    for name, parameter in signature.parameters.items():
        if parameter.default is not parameter.empty:
            with suppress(UnusableArgument, RecursionError):
                texts[name] = keys.canonical(parameter.default, name)
    return texts


class Protected:
    """A function under the ledger, with its options."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.signature = inspect.signature(function)
        self.qualified_name = f"{function.__module__}.{function.__qualname__}"
        self._all = Parameters(self.signature)
        self._takes_self = next(iter(self.signature.parameters), None) == "self"
        self._after_self = self._all.without_first() if self.signature.parameters else self._all
        _by_qualified_name[self.qualified_name] = self

    def takes_self(self, args: Sequence[object]) -> bool:
        """Whether the first argument is the task itself, which is not part of the key."""
        return self._takes_self or (bool(args) and isinstance(args[0], Task))

    def identity(
        self, args: Sequence[object], kwargs: Mapping[str, object], *, bound: bool
    ) -> Identity:
        """Identity of a call. ``args`` come without ``self`` where ``bound``."""
        parameters = self.parameters(bound=bound)
        try:
            positional, named, arguments = parameters.bind(args, kwargs)
            canonical = parameters.canonical(positional, named)
        except UnusableArgument as error:
            raise UnusableArgument(f"{self.qualified_name}: {error}") from None
        except TypeError as error:
            raise TypeError(f"{self.qualified_name}() {error}") from None
        args_hash = keys.hash_of(canonical)
        if self.options.key is None:
            return Identity(args_hash, args_hash, arguments)
        if callable(self.options.key):
            chosen = self.options.key(*args, **kwargs)
            where = f"{self.qualified_name}: the value of key="
            if chosen is None:
                raise UnusableArgument(f"{where} is None. Return what identifies the execution.")
            canonical = keys.canonical(chosen, where)
        else:
            try:
                chosen = [arguments[name] for name in self.options.key]
            except KeyError as error:
                raise UnusableArgument(
                    f"{self.qualified_name}: key= names {error}, which is the task itself. Name "
                    "other arguments."
                ) from None
            defaults = [parameters.default_texts.get(name) for name in self.options.key]
            canonical = keys.canonical_values(chosen, defaults)
        return Identity(keys.hash_of(canonical), args_hash, arguments)

    def parameters(self, *, bound: bool) -> Parameters:
        """Those of a call, without ``self`` where ``bound``."""
        return self._after_self if bound else self._all

    def database(self, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
        """Alias of the database whose ledger records this call."""
        using = self.options.using
        if using is None:
            return DEFAULT_DB_ALIAS
        alias = using if isinstance(using, str) else using(*args, **kwargs)
        if alias not in connections.settings:
            raise UnusableArgument(
                f"{self.qualified_name}: using= names the database {alias!r}; settings.DATABASES "
                f"has {', '.join(connections.settings)}."
            )
        return alias

    def readable_arguments(self, identity: Identity) -> str:
        return readable.dump(identity.arguments, self.options.redact)


def protecting(task: Task[Any, Any]) -> Protected | None:
    """The protection of a Celery task, if its body is decorated."""
    found: Protected | None = getattr(task.run, MARK, None)
    return found


def find(task_name: str) -> tuple[Protected, bool] | None:
    """The decorated function of that name and whether Celery binds it, or None where there is none.
    A name that this process does not know is looked for where a worker would have it from."""
    if task_name not in current_app.tasks and task_name not in _by_qualified_name:
        import_tasks()
    task = current_app.tasks.get(task_name)
    if task is not None and (protected := protecting(task)) is not None:
        body = getattr(task, "_orig_run", task.run)
        return protected, inspect.ismethod(body) or protected._takes_self
    if (protected := _by_qualified_name.get(task_name)) is not None:
        return protected, protected._takes_self
    return None


def parameter_names() -> list[str]:
    """Names of all parameters of the decorated functions, sorted."""
    import_tasks()
    protected = _by_qualified_name.values()
    return sorted({name for known in protected for name in known._all.names if name != "self"})


def key_of(
    task_name: str,
    args: Sequence[object] | None,
    kwargs: Mapping[str, object] | None,
    date_based: bool,
    date: dt.date | str | None,
) -> tuple[str, str]:
    """Key and database alias of a call by name, as a worker would make them."""
    args, kwargs = args or (), kwargs or {}
    known = find(task_name)
    kind = known[0].options.period if known else None
    period = periods.current(kind or "day") if date is None else periods.parse(date, "date", kind)
    label = period.label if date_based or kind else None
    if known is None:
        logger.warning(
            "%s is no task under the ledger as far as this process knows: its key is made of the "
            "arguments as they stand, and found only where the task was called with just these",
            task_name,
        )
        key_hash = keys.hash_of(keys.canonical_arguments(args, kwargs))
        return keys.compose(task_name, key_hash, label), DEFAULT_DB_ALIAS
    protected, bound = known
    identity = protected.identity(args, kwargs, bound=bound)
    key = keys.compose(task_name, identity.key_hash, label)
    return key, protected.database(args, kwargs)
