"""The import, and what came of it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.core.cache.backends.base import BaseCache
from django.db import connections

from .. import results, store
from ..exceptions import UnstorableResult
from ..keys import KEY_PREFIX
from .caches import keys_of
from .calls import Candidate, OldKey, tasks

PREFIX = f"{KEY_PREFIX}:"

BATCH = 500
"""Keys that the cache is asked for at once."""


@dataclass
class Report:
    """What came of it."""

    outcomes: dict[str, str] = field(default_factory=dict)
    """By the ledger's key: ``imported``, or the state of the execution that was live, and left as
    it is."""
    without_result: dict[str, str] = field(default_factory=dict)
    """Imported, but the cached result cannot be stored, and why; by the ledger's key."""
    unaccounted: list[str] = field(default_factory=list)
    """Live keys of the cache, of tasks under the ledger, that are of none of the calls."""
    foreign: int = 0
    """Live keys of other tasks."""
    elsewhere: set[str] = field(default_factory=set)
    """Databases of further completions, which were not recorded."""

    def count(self, *outcomes: str) -> int:
        return sum(outcome in outcomes for outcome in self.outcomes.values())


def record(
    cache: BaseCache,
    wanted: Mapping[str, Candidate],
    old_key: OldKey,
    database: str,
    *,
    source: str,
    actor: str,
) -> Report:
    """Record what the cache knows of ``wanted`` and belongs to that database. ``source`` says where
    it is from, ``actor`` who does it; both are kept for the audit. An entry whose lifetime the
    cache does not tell gets the task's TTL."""
    report = Report()
    listed = keys_of(cache)
    names = list(wanted)
    for start in range(0, len(names), BATCH):
        for old, value in cache.get_many(names[start : start + BATCH]).items():
            candidate = wanted[old]
            if candidate.database != database:
                report.elsewhere.add(candidate.database)
                continue
            ttl = listed.lifetime(old) if listed else candidate.protected.options.ttl
            if ttl is not None and ttl <= dt.timedelta():
                continue  # gone since
            _import(report, candidate, value, ttl, f"{source}: {old}", actor)
    if listed:
        ours = _old_names(old_key)
        for old in listed.all(PREFIX):
            if old not in wanted:
                if _name_in(old) in ours:
                    report.unaccounted.append(old)
                else:
                    report.foreign += 1
    return report


def _import(
    report: Report,
    candidate: Candidate,
    value: object,
    ttl: dt.timedelta | None,
    reason: str,
    actor: str,
) -> None:
    problem = ""
    try:
        result = results.dump("it", _result(value), "")
    except UnstorableResult as error:
        result, problem = results.dump("it", None), str(error)
    connection = connections[candidate.database]
    outcome = store.record_imported(connection, candidate, result, ttl, actor, reason)
    if report.outcomes.get(candidate.key) != "imported":  # by another of its old keys
        report.outcomes[candidate.key] = outcome
    if problem and outcome == "imported":
        report.without_result[candidate.key] = problem


def _result(value: object) -> object:
    """``result`` of a completion's metadata, a dictionary or its JSON; None where there is none."""
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value.get("result") if isinstance(value, dict) else None


def _old_names(old_key: OldKey) -> set[str]:
    """What tasks under the ledger are called in old keys, which need not be as they are now."""
    return {_name_in(old_key(name, (), {}, None)) for name in tasks()}


def _name_in(old: str) -> str:
    """``idempotent:{task_name}`` of ``idempotent:{task_name}:{arg_hash}[:{date}]``."""
    return re.sub(r":\d{4}-\d\d-\d\d$", "", old).rpartition(":")[0]
