"""Pages and figures, asked for through Django as a browser or a scraper would."""

import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings

from ledger.models import ExecutionEvent, ExecutionStep, TaskExecution

WARM_RUNS = 7
PLANS = Path(".local/scale")
ADMIN = "/admin/ledger/taskexecution/"
TASK = "payroll.tasks.process_payroll"


@dataclass(frozen=True)
class Measured:
    name: str
    first: float
    """Milliseconds of the first time."""
    warm: float
    """The median of some more."""
    queries: int
    slowest: float
    """Milliseconds of its slowest query, by the server's own account."""


def measure(alias: str) -> list[Measured]:
    """Each page twice and more in that database; the plans of its queries go to ``PLANS``."""
    with _as_default(alias), override_settings(ALLOWED_HOSTS=["testserver"], HTTPS=False):
        client = Client()
        client.force_login(_superuser())
        return [_measure(client, name, path) for name, path in _paths().items()]


@contextmanager
def _as_default(alias: str) -> Iterator[None]:
    """Pages ask the default database: let that be it."""
    connection = connections[DEFAULT_DB_ALIAS]
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = connections[alias].settings_dict["NAME"]
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def _superuser() -> AbstractBaseUser:
    User = get_user_model()
    user, _ = User.objects.get_or_create(
        username="scale", defaults={"is_staff": True, "is_superuser": True}
    )
    return user


def _paths() -> dict[str, str]:
    some = TaskExecution.objects.filter(state="completed").order_by("-id")[1000]
    held = TaskExecution.objects.filter(state="held", completed_at=None, retired_at=None)[0]
    stepped = ExecutionStep.objects.order_by("id")[10].execution_id
    skipped = ExecutionEvent.objects.filter(kind="skipped").order_by("id")[10].execution_id
    day = some.claimed_at
    return {
        "list": ADMIN,
        "list, held": f"{ADMIN}?look=held",
        "list, running without a worker": f"{ADMIN}?look=lost",
        "list, more than one attempt": f"{ADMIN}?look=repeated",
        "list, one task": f"{ADMIN}?task={TASK}",
        "list, one guarantee": f"{ADMIN}?guarantee=at_most_once",
        "list, failed": f"{ADMIN}?state=failed",
        "list, a day": f"{ADMIN}?claimed_at__year={day.year}&claimed_at__month={day.month}"
        f"&claimed_at__day={day.day}",
        "search, a key": f"{ADMIN}?q={some.key}",
        "search, a task id": f"{ADMIN}?q={some.task_id}",
        "search, an argument": f"{ADMIN}?q=employee_id%3D4711",
        "search, nothing there": f"{ADMIN}?q=employee_id%3D999999999",
        "detail": f"{ADMIN}{some.pk}/change/",
        "detail, held": f"{ADMIN}{held.pk}/change/",
        "detail, with steps": f"{ADMIN}{stepped}/change/",
        "detail, with duplicates": f"{ADMIN}{skipped}/change/",
        "overview, 24 hours": f"{ADMIN}overview/",
        "overview, 7 days": f"{ADMIN}overview/?range=7d",
        "overview, 30 days": f"{ADMIN}overview/?range=30d",
        "overview, all 400 days": f"{ADMIN}overview/?since={day.year - 2}-01-01T00:00",
        "/metrics": "/metrics",
    }


def _measure(client: Client, name: str, path: str) -> Measured:
    connections[DEFAULT_DB_ALIAS].close()
    first = _milliseconds(client, path)
    warm = statistics.median(_milliseconds(client, path) for _ in range(WARM_RUNS))
    with CaptureQueriesContext(connections[DEFAULT_DB_ALIAS]) as captured:
        client.get(path)
    queries = [query["sql"] for query in captured.captured_queries]
    return Measured(name, first, warm, len(queries), explain(DEFAULT_DB_ALIAS, name, queries))


def explain(alias: str, name: str, queries: list[str]) -> float:
    """Write the queries' plans to a file; returns the milliseconds of the slowest."""
    plans = [(query, _plan(alias, query)) for query in queries if _is_explainable(query)]
    PLANS.mkdir(parents=True, exist_ok=True)
    file = PLANS / f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.txt"
    file.write_text("\n\n".join(f"{query}\n\n{plan}" for query, plan in plans) + "\n")
    return max((_took(plan) for _, plan in plans), default=0)


def _milliseconds(client: Client, path: str) -> float:
    start = time.perf_counter()
    answer = client.get(path)
    took = (time.perf_counter() - start) * 1000
    if answer.status_code != HTTPStatus.OK:
        raise RuntimeError(f"{path} answers {answer.status_code}")
    return took


def _is_explainable(query: str) -> bool:
    return query.lstrip(" (\n").lower().startswith(("select", "with"))


def _plan(alias: str, query: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("explain (analyze, buffers, settings) " + query.replace("%", "%%"), ())
        return "\n".join(line for (line,) in cursor.fetchall())


def _took(plan: str) -> float:
    found = re.search(r"Execution Time: ([\d.]+) ms", plan)
    return float(found[1]) if found else 0.0
