"""A project's old cache, in each kind that can hold one: ``caches["old"]``."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.management import call_command
from django.test import override_settings

from core.embedded import LOCAL, Valkey

REDIS = "django.core.cache.backends.redis.RedisCache"
TABLE = "django.core.cache.backends.db.DatabaseCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"


@pytest.fixture
def use_cache(settings: Any) -> Iterator[Any]:
    """Makes ``caches["old"]`` this one."""
    with override_settings():

        def use(backend: str, location: object, **more: object) -> BaseCache:
            cache = {"BACKEND": backend, "LOCATION": location, **more}
            settings.CACHES = settings.CACHES | {"old": cache}
            return caches["old"]

        yield use


@pytest.fixture
def redis_location(settings: Any) -> str:
    configured = settings.CACHES["default"]
    if configured["BACKEND"] == REDIS:
        return str(configured["LOCATION"])
    valkey = Valkey(LOCAL)
    valkey.start()
    return valkey.cache_url(1)


@pytest.fixture(params=["redis", "table"])
def old_cache(
    request: pytest.FixtureRequest, use_cache: Any, settings: Any, db: None
) -> Iterator[BaseCache]:
    """One that can list its keys, among those of others."""
    prefix = f"{settings.TEST_RUN}-*[a]_%^"  # nothing in it may count as a pattern
    if request.param == "redis":
        cache = use_cache(REDIS, request.getfixturevalue("redis_location"), KEY_PREFIX=prefix)
        yield cache
        for key in cache._cache.get_client(None).scan_iter(match=f"{settings.TEST_RUN}-*"):
            cache._cache.get_client(None).delete(key)
        return
    cache = use_cache(TABLE, "old_cache", KEY_PREFIX=prefix)
    call_command("createcachetable", "old_cache")
    yield cache  # the table goes with the test's transaction


@pytest.fixture
def files(use_cache: Any, tmp_path: Path) -> Iterator[BaseCache]:
    """One that cannot."""
    yield use_cache(FILES, str(tmp_path / "cache"))
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
