"""What a cache can tell of its own keys, which is no part of Django's cache API."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any, Protocol

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.db import connections, router

KEPT_NOWHERE = (DummyCache, LocMemCache)
"""What such a cache holds no other process can see."""

NEVER = 9999
"""The year in which an entry of the database cache expires that never does."""


class Keys(Protocol):
    """A cache that can list what it holds."""

    def all(self, prefix: str) -> Iterator[str]:
        """Its live keys that begin so, as they were given to ``set``."""

    def lifetime(self, key: str) -> dt.timedelta | None:
        """How long that key has left; None: for ever."""


def keys_of(cache: BaseCache) -> Keys | None:
    """None where the cache cannot list its keys (Memcached, files, a hashing KEY_FUNCTION)."""
    if not cache.make_key("key").endswith("key"):
        return None
    if isinstance(cache, RedisCache):
        return RedisKeys(cache)
    if isinstance(cache, DatabaseCache):
        return TableKeys(cache)
    return None


class RedisKeys:
    """Of Django's own Redis cache, Redis or Valkey. SCAN goes through all keys of its database, a
    thousand at a time, and blocks nobody for longer than that."""

    def __init__(self, cache: RedisCache) -> None:
        self.cache = cache
        self.client: Any = cache._cache.get_client(None, write=True)

    def all(self, prefix: str) -> Iterator[str]:
        start = self.cache.make_key(prefix)
        literally = re.sub(r"([\\*?\[\]^])", r"\\\1", start)
        seen = set()  # SCAN may name a key twice
        for name in self.client.scan_iter(match=f"{literally}*", count=1000):
            key = name.decode()[len(start) - len(prefix) :]
            if key not in seen:
                seen.add(key)
                yield key

    def lifetime(self, key: str) -> dt.timedelta | None:
        left = self.client.pttl(self.cache.make_key(key))
        return None if left == -1 else dt.timedelta(milliseconds=max(left, 0))


class TableKeys:
    """Of Django's database cache."""

    def __init__(self, cache: DatabaseCache) -> None:
        self.cache = cache
        self.connection = connections[router.db_for_read(cache.cache_model_class)]
        self.table = self.connection.ops.quote_name(cache._table)  # type: ignore[attr-defined]

    def all(self, prefix: str) -> Iterator[str]:
        start = self.cache.make_key(prefix)
        literally = re.sub(r"([!%_])", r"!\1", start)
        sql = f"select cache_key, expires from {self.table} where cache_key like %s escape '!'"  # noqa: S608
        for name, expires in self._rows(sql, f"{literally}%"):
            if expires > dt.datetime.now(dt.UTC):
                yield name[len(start) - len(prefix) :]

    def lifetime(self, key: str) -> dt.timedelta | None:
        sql = f"select cache_key, expires from {self.table} where cache_key = %s"  # noqa: S608
        for _, expires in self._rows(sql, self.cache.make_key(key)):
            if expires.year >= NEVER:
                return None
            return max(expires - dt.datetime.now(dt.UTC), dt.timedelta())
        return dt.timedelta()

    def _rows(self, sql: str, name: str) -> list[tuple[str, dt.datetime]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [name])
            return [
                (key, expires if expires.tzinfo else expires.replace(tzinfo=dt.UTC))
                for key, expires in cursor.fetchall()
            ]
