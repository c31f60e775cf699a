"""The views for reporting, asked for a day or a week of a long history."""

import statistics
import time

from django.db import connections

from ledger.models import TaskExecution

from .pages import WARM_RUNS, Measured, explain


def measure(alias: str) -> list[Measured]:
    some = TaskExecution.objects.using(alias).filter(state="completed").order_by("-id")[1000]
    day = {"since": some.claimed_at.date()}
    queries = {
        "ledger_run_history, a key": ("ledger_run_history where key = %(key)s", {"key": some.key}),
        "ledger_run_history, a day": (
            "ledger_run_history where claimed_at >= %(since)s"
            " and claimed_at < %(since)s::date + interval '1 day'",
            day,
        ),
        "ledger_attempts, an execution": (
            "ledger_attempts where execution_id = %(id)s",
            {"id": some.pk},
        ),
        "ledger_duplicates, a day": (
            "ledger_duplicates where at >= %(since)s and at < %(since)s::date + interval '1 day'",
            day,
        ),
        "ledger_daily_summary, a day": ("ledger_daily_summary where day = %(since)s", day),
        "ledger_daily_summary, 7 days": (
            "ledger_daily_summary where day > %(since)s::date - 7",
            day,
        ),
        "ledger_task_health, a day": ("ledger_task_health where days = 1", {}),
        "ledger_task_health, 7 days": ("ledger_task_health where days = 7", {}),
        "ledger_open_items": ("ledger_open_items", {}),
    }
    return [
        _measure(alias, name, f"select * from {rest}", parameters)  # noqa: S608
        for name, (rest, parameters) in queries.items()
    ]


def _measure(alias: str, name: str, sql: str, parameters: dict[str, object]) -> Measured:
    connections[alias].close()
    first = _milliseconds(alias, sql, parameters)
    warm = statistics.median(_milliseconds(alias, sql, parameters) for _ in range(WARM_RUNS))
    with connections[alias].cursor() as cursor:
        query = cursor.mogrify(sql, parameters)
    return Measured(name, first, warm, 1, explain(alias, name, [query]))


def _milliseconds(alias: str, sql: str, parameters: dict[str, object]) -> float:
    with connections[alias].cursor() as cursor:
        start = time.perf_counter()
        cursor.execute(sql, parameters)
        cursor.fetchall()
        return (time.perf_counter() - start) * 1000
