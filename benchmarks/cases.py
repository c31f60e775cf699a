"""What is measured: one INSERT with and without the ledger, duplicates, and a real payslip."""

import itertools
import time
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection, models, transaction

from ledger import idempotent_task, recent
from ledger.models import TaskExecution
from payroll import sample_data
from payroll.demo.demo import WITHOUT_A_NET
from payroll.models import Employee
from payroll.months import Month
from payroll.services import post_payslip
from payroll.tasks import describe

from .cache_decorator import remembered_in_cache
from .measure import Case, Comparison

SAMPLE = Path(sample_data.__file__).parent


class Effect(models.Model):
    """One row that a body writes."""

    number = models.BigIntegerField()
    note = models.CharField(max_length=100)

    class Meta:
        app_label = "benchmarks"

    def __str__(self) -> str:
        return f"{self.number}: {self.note}"


def body(number: int) -> dict[str, Any]:
    effect = Effect.objects.create(number=number, note="worked")
    return {"effect": effect.pk, "status": "completed"}


ledgered = idempotent_task(ttl_hours=72)(body)
cached = remembered_in_cache(ttl_hours=72)(transaction.atomic(body))
numbers = itertools.count(time.time_ns())  # a cache remembers earlier runs of this benchmark
EARLIER = 0
"""The number that duplicates ask for again."""


def one_insert() -> list[Comparison]:
    def plain() -> None:
        with transaction.atomic():
            body(next(numbers))

    def plain_and_two_more() -> None:
        number = next(numbers)
        with transaction.atomic():
            body(number)
            body(number)
            body(number)

    def unforeseen_duplicate() -> None:
        recent._completed.clear()
        ledgered(EARLIER)

    ledgered(EARLIER)
    cached(EARLIER)
    baseline = Case("atomic() and one create()", plain)
    first = Case("ledger, first run", lambda: ledgered(next(numbers)))
    duplicate = Case("ledger, duplicate", lambda: ledgered(EARLIER))
    unforeseen = Case("ledger, unforeseen duplicate", unforeseen_duplicate)
    miss = Case("cache decorator, miss", lambda: cached(next(numbers)))
    hit = Case("cache decorator, hit", lambda: cached(EARLIER))
    three = Case("atomic() and three create()", plain_and_two_more)
    return [
        Comparison("first run / atomic() and create()", first, baseline, 1.5),
        Comparison("first run / cache miss", first, miss, 1.0),
        Comparison("duplicate / cache hit", duplicate, hit, 1.0),
        Comparison("duplicate of another process's run / cache hit", unforeseen, hit, 1.0),
        Comparison("for scale: three create() / one", three, baseline, float("inf")),
    ]


def payslip() -> list[Comparison]:
    """A real payslip of the generated company: nine statements and their arithmetic."""
    for kind in ("pay_policies", "employees", "work_logs"):
        command = "import_worklogs" if kind == "work_logs" else f"import_{kind}"
        call_command(command, SAMPLE / f"{kind}.csv", stdout=StringIO(), stderr=StringIO())
    with connection.cursor() as cursor:
        cursor.execute(WITHOUT_A_NET)  # the same months are posted again and again
    employees = itertools.cycle(Employee.objects.values_list("pk", flat=True)[:50])

    def post(run: int, employee_id: int) -> dict[str, Any]:
        return describe(post_payslip(employee_id, Month(2025, 10)))

    protected = idempotent_task(ttl_hours=72)(post)

    def plain() -> None:
        with transaction.atomic():
            post(next(numbers), next(employees))

    baseline = Case("payslip in atomic()", plain)
    first = Case("payslip, ledger", lambda: protected(next(numbers), next(employees)))
    return [Comparison("process_payroll / the same in atomic()", first, baseline, 1.1)]


def forget() -> None:
    """Between rounds: tables as small as at the start, statistics up to date."""
    with connection.cursor() as cursor:
        cursor.execute(f"truncate {Effect._meta.db_table}")
        cursor.execute(f"vacuum analyze {TaskExecution._meta.db_table}")
