"""The same work behind each guard. Workers of the trials are told to import this module."""

import functools
from collections.abc import Callable
from typing import Any

from celery import Task
from celery_once import QueueOnce
from celery_singleton import Singleton
from django.core.cache import cache
from django.db import transaction

from benchmarks.cache_decorator import remembered_in_cache
from ledger import idempotent_task
from tests.comparison.app import app, client
from tests.testapp import faults
from tests.testapp.models import Effect

Body = Callable[[str], None]

HOUR = 3600

GUARDS: dict[str, Task] = {}
"""By what the table calls it."""


def work(key: str) -> None:
    """One row, in a transaction; and whatever the message asks for, at its first start."""
    starts = client().incr(f"{key}:starts")
    with transaction.atomic():
        Effect.objects.create(key=key)
        faults.reached("body", starts)
    faults.reached("done", starts)


def guarded(title: str, **options: Any) -> Callable[[Body], Task]:
    """Register the task behind that guard: acknowledged late, and retried when it fails."""

    def register(function: Body) -> Task:
        GUARDS[title] = app.task(
            name=f"comparison.{function.__name__}",
            autoretry_for=(faults.Flaky,),
            default_retry_delay=0,
            max_retries=2,
            ignore_result=True,  # or Celery may know from its result that a lost process was done
            **options,
        )(function)
        return GUARDS[title]

    return register


def locked(function: Body) -> Body:
    """A lock around the work."""

    @functools.wraps(function)
    def wrapper(key: str) -> None:
        if not cache.add(f"{key}:lock", "1", timeout=HOUR):
            return
        try:
            function(key)
        finally:
            cache.delete(f"{key}:lock")

    return wrapper


def marked(function: Body) -> Body:
    """A marker before the work, kept unless that fails."""

    @functools.wraps(function)
    def wrapper(key: str) -> None:
        if not client().set(f"{key}:marker", "1", nx=True, ex=HOUR):
            return
        try:
            function(key)
        except Exception:
            client().delete(f"{key}:marker")
            raise

    return wrapper


@guarded("nothing")
def unguarded(key: str) -> None:
    work(key)


@guarded("Celery Once", base=QueueOnce, once={"graceful": True})
def once(key: str) -> None:
    work(key)


@guarded("celery-singleton", base=Singleton)
def singleton(key: str) -> None:
    work(key)


@guarded("lock, `cache.add`")
@locked
def under_a_lock(key: str) -> None:
    work(key)


@guarded("marker, `SET NX`")
@marked
def behind_a_marker(key: str) -> None:
    work(key)


@guarded("cache decorator")
@remembered_in_cache(ttl_hours=0.25)
def remembered(key: str) -> None:
    work(key)


@guarded("the ledger")
@idempotent_task()
def in_the_ledger(key: str) -> None:
    work(key)
