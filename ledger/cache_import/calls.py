"""From a call to its old keys, and to the execution it would be."""

from __future__ import annotations

import datetime as dt
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from celery import current_app

from .. import keys, periods
from ..exceptions import UnusableArgument
from ..importing import import_tasks
from ..protection import Protected, find, protecting

OldKey = Callable[[str, Sequence[object], Mapping[str, object], dt.date | None], str]
"""The old decorator's key of a call: of the task's name, the arguments without ``self``, and the
day if the key is dated, else None."""

DAYS = 32
"""Days, today included, that are tried for a dated call that names none."""


FEW_DEFAULTS = 6
"""Up to so many, any of them may have been written out; of more, all or none."""


class OldCall(NamedTuple):
    """A call that may have completed. ``date`` None: for a dated task, any of the last ``DAYS``."""

    task_name: str
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = {}
    date: dt.date | None = None


class Candidate(NamedTuple):
    """The execution that a call would be."""

    task_name: str
    protected: Protected
    database: str
    key: str
    args_hash: str
    arguments: str
    period: str | None


def tasks() -> dict[str, Protected]:
    """The registered tasks under the ledger, by name."""
    import_tasks()
    found = {name: protecting(task) for name, task in sorted(current_app.tasks.items())}
    return {name: protected for name, protected in found.items() if protected}


def without_arguments() -> Iterator[OldCall]:
    """One call of each task that can be called without arguments, as daily tasks mostly are."""
    for name, protected in tasks().items():
        call = OldCall(name)
        if protected.options.period == "hour":  # which no date names
            continue
        try:
            _candidate(call, periods.today())
        except TypeError:
            continue
        yield call


def candidates(calls: Iterable[OldCall], old_key: OldKey) -> dict[str, Candidate]:
    """The executions that the calls would be, by each of their old keys.

    ``UnusableArgument`` or ``TypeError`` where one is no call of a task under the ledger.
    """
    found: dict[str, Candidate] = {}
    for call in calls:
        protected, bound = _known(call.task_name)
        for date in _dates(protected, call.date):
            candidate = _candidate(call, date)
            for args, kwargs in spellings(protected, call.args, call.kwargs, bound=bound):
                found.setdefault(old_key(call.task_name, args, kwargs, date), candidate)
    return found


def spellings(
    protected: Protected, args: Sequence[object], kwargs: Mapping[str, object], *, bound: bool
) -> Iterator[tuple[tuple[object, ...], dict[str, object]]]:
    """The ways to write one call, each of which had an old key of its own: as given, then with the
    first so many arguments by position, the rest by name, and any of the defaults left out."""
    yield tuple(args), dict(kwargs)
    parameters = list(protected.signature.parameters.values())[1 if bound else 0 :]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return
    call = inspect.Signature(parameters).bind(*args, **kwargs)
    call.apply_defaults()
    values = call.arguments
    by_position = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    for count in range(len(by_position) + 1):
        first = tuple(values[name] for name in by_position[:count])
        rest = [p for p in parameters if p.name not in by_position[:count]]
        for left_out in _subsets([p.name for p in rest if values[p.name] == p.default]):
            yield first, {p.name: values[p.name] for p in rest if p.name not in left_out}


def _subsets(names: list[str]) -> Iterator[tuple[str, ...]]:
    """Any of a few; none or all of many."""
    counts = range(len(names) + 1) if len(names) <= FEW_DEFAULTS else (0, len(names))
    for count in counts:
        yield from itertools.combinations(names, count)


def _known(task_name: str) -> tuple[Protected, bool]:
    known = find(task_name)
    if known is None:
        raise UnusableArgument(
            f"{task_name!r} is no task under the ledger. There are: {', '.join(tasks())}."
        )
    return known


def _dates(protected: Protected, date: dt.date | None) -> list[dt.date | None]:
    if date is not None or protected.options.period is None:
        return [date]
    today = periods.today()
    return [today - dt.timedelta(days=back) for back in range(DAYS)]


def _candidate(call: OldCall, date: dt.date | None) -> Candidate:
    protected, bound = _known(call.task_name)
    identity = protected.identity(call.args, call.kwargs, bound=bound)
    kind = protected.options.period
    label = None
    if kind and date is not None:
        label, _ = periods.parse(date, "date", kind)
    return Candidate(
        call.task_name,
        protected,
        protected.database(call.args, call.kwargs),
        keys.compose(call.task_name, identity.key_hash, label),
        identity.args_hash,
        protected.readable_arguments(identity),
        label,
    )
