"""What caches tell of their keys, which Django's API does not ask them for."""

import datetime as dt
from typing import Any

import pytest
from django.core.cache.backends.base import BaseCache

from ledger.cache_import.caches import keys_of
from tests.ledger.cache_import.conftest import REDIS

pytestmark = pytest.mark.django_db


def test_it_lists_its_own_live_keys_that_begin_so(old_cache: BaseCache) -> None:
    for key in ("idempotent:a:1", "idempotent:b:2:2026-11-24", "other:idempotent:c"):
        old_cache.set(key, "x")
    old_cache.set("idempotent:gone", "x", timeout=-1)
    old_cache.set("idempotent:another version", "x", version=2)
    mine = old_cache.key_prefix
    for others in (f"{mine}2", mine.replace("*[a]", "..a"), mine.replace("_%", ".. ..")):
        old_cache.key_prefix = others
        old_cache.set("idempotent:another's", "x")
    old_cache.key_prefix = mine

    listed = keys_of(old_cache)
    assert listed is not None
    assert sorted(listed.all("idempotent:")) == ["idempotent:a:1", "idempotent:b:2:2026-11-24"]


def test_it_tells_how_long_they_live(old_cache: BaseCache) -> None:
    old_cache.set("idempotent:an hour", "x", timeout=3600)
    old_cache.set("idempotent:for ever", "x", timeout=None)

    listed = keys_of(old_cache)
    assert listed is not None
    hour = listed.lifetime("idempotent:an hour")
    assert hour is not None
    assert dt.timedelta(minutes=59) < hour <= dt.timedelta(hours=1)
    assert listed.lifetime("idempotent:for ever") is None
    assert listed.lifetime("idempotent:never there") == dt.timedelta()


def test_a_cache_that_cannot_list_its_keys_says_so(files: BaseCache) -> None:
    assert keys_of(files) is None


def hashed(key: str, prefix: str, version: int) -> str:
    return str(hash((key, prefix, version)))


def test_nor_can_one_that_hashes_them(use_cache: Any, redis_location: str) -> None:
    assert keys_of(use_cache(REDIS, redis_location, KEY_FUNCTION=f"{__name__}.hashed")) is None
