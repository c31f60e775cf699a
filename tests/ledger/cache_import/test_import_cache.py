"""``manage.py ledger import-cache``: nothing done yesterday runs again today."""

from __future__ import annotations

import datetime as dt
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from celery import Task, shared_task
from django.core.cache.backends.base import BaseCache
from django.core.management import CommandError, call_command

from ledger import check_idempotency_status, idempotent_daily_task, idempotent_task, periods
from ledger.models import ExecutionEvent, TaskExecution
from ledger.testing import Clock
from tests.ledger.cache_import import old
from tests.ledger.cache_import.old import old_key
from tests.testapp.models import Effect

pytestmark = pytest.mark.django_db

OLD_KEY = f"{old.__name__}.old_key"


def pay_body(self: Any, employee: int, year: int, month: int = 11, *, dry: bool = False) -> Any:
    return {"paid": Effect.objects.create(key=f"{employee} {year}-{month}").pk}


def report_body(self: Any) -> str:
    Effect.objects.create(key="report")
    return "reported"


pay_before = old.idempotent_task(ttl_hours=72)(pay_body)
report_before = old.idempotent_task(ttl_hours=48, date_based=True)(report_body)


@shared_task(bind=True, name="shop.tasks.pay")
@idempotent_task(ttl_hours=72)
def pay(self: Task, employee: int, year: int, month: int = 11, *, dry: bool = False) -> Any:
    return pay_body(self, employee, year, month, dry=dry)


@shared_task(bind=True, name="shop.tasks.report")
@idempotent_daily_task(ttl_hours=48)
def report(self: Task) -> str:
    return report_body(self)


@shared_task(bind=True, name="shop.tasks.weigh")
@idempotent_task(key="number", using="second")
def weigh(self: Task, number: int) -> None: ...


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A file with a payment for each of three employees."""
    path = tmp_path / "calls.jsonl"
    lines = [json.dumps({"task": pay.name, "args": [n, 2026]}) for n in (7, 8, 9)]
    path.write_text("\n".join(lines) + "\n\n")
    return path


def import_cache(*options: str) -> str:
    out = StringIO()
    call_command(
        "ledger", "import-cache", "--cache", "old", "--old-key", OLD_KEY, *options, stdout=out
    )
    return out.getvalue()


def refused(*options: str) -> str:
    with pytest.raises(CommandError) as told:
        import_cache(*options)
    return str(told.value)


class TestWhatWasDone:
    def test_it_does_not_run_again_and_is_answered_as_before(
        self, old_cache: BaseCache, calls: Path
    ) -> None:
        paid = pay_before(pay, 7, 2026)
        assert report_before(report) == "reported"

        assert "Imported 2; 0 were in the ledger" in import_cache("--calls", str(calls))

        assert pay(7, 2026) == paid
        assert report() == "reported"
        assert Effect.objects.count() == 2
        assert pay(8, 2026) != paid  # which the cache knows nothing of
        assert Effect.objects.count() == 3

    @pytest.mark.parametrize(
        ("args", "kwargs"),
        [
            ([7, 2026], {}),
            ([7, 2026, 11], {}),
            ([7], {"year": 2026}),
            ([7], {"month": 11, "year": 2026}),
            ([], {"employee": 7, "year": 2026}),
            ([7, 2026], {"dry": False}),
        ],
    )
    def test_however_the_call_was_written(
        self, old_cache: BaseCache, calls: Path, args: Any, kwargs: Any
    ) -> None:
        paid = pay_before(pay, *args, **kwargs)
        import_cache("--calls", str(calls))
        assert pay(7, 2026) == paid

    def test_it_expires_when_it_would_have_in_the_cache(
        self, old_cache: BaseCache, calls: Path, ledger_clock: Clock
    ) -> None:
        pay_before(pay, 7, 2026)
        old_cache.touch(old_key(pay.name, (7, 2026), {}, None), timeout=3600)
        import_cache("--calls", str(calls))
        ledger_clock.forward(minutes=59)
        pay(7, 2026)
        assert Effect.objects.count() == 1
        ledger_clock.forward(minutes=2)
        pay(7, 2026)
        assert Effect.objects.count() == 2

    def test_what_was_kept_for_ever_is(self, old_cache: BaseCache, calls: Path) -> None:
        old_cache.set(old_key(pay.name, (7, 2026), {}, None), "done", timeout=None)
        import_cache("--calls", str(calls))
        assert TaskExecution.objects.get().expires_at is None
        assert pay(7, 2026) is None  # all that such a value tells

    def test_yesterdays_run_is_yesterdays(self, old_cache: BaseCache) -> None:
        yesterday = periods.today() - dt.timedelta(days=1)
        old_cache.set(old_key(report.name, (), {}, yesterday), {"result": "yesterday's"})
        import_cache()
        known = check_idempotency_status(report.name, date=yesterday)
        assert known["executed"]
        assert known["result"] == "yesterday's"
        assert report() == "reported"

    def test_the_audit_says_where_it_is_from(self, old_cache: BaseCache, calls: Path) -> None:
        pay_before(pay, 7, 2026)
        import_cache("--calls", str(calls))
        event = ExecutionEvent.objects.get()
        assert event.kind == "imported"
        assert event.actor == "manage.py ledger import-cache"
        key = old_key(pay.name, (7, 2026), {}, None)
        assert event.reason == f"imported from cache 'old': {key}"

    def test_a_result_that_cannot_be_stored_keeps_it_from_running_all_the_same(
        self, old_cache: BaseCache, calls: Path
    ) -> None:
        old_cache.set(old_key(pay.name, (7, 2026), {}, None), {"result": object})
        assert "answered with None" in import_cache("--calls", str(calls))
        assert pay(7, 2026) is None
        assert not Effect.objects.exists()


class TestWhatIsInTheLedger:
    def test_importing_again_changes_nothing(self, old_cache: BaseCache, calls: Path) -> None:
        pay_before(pay, 7, 2026)
        import_cache("--calls", str(calls))
        before = list(TaskExecution.objects.values()), list(ExecutionEvent.objects.values())
        assert "Imported 0; 1 were in the ledger" in import_cache("--calls", str(calls))
        after = list(TaskExecution.objects.values()), list(ExecutionEvent.objects.values())
        assert after == before

    def test_what_the_ledger_completed_is_not_overwritten(
        self, old_cache: BaseCache, calls: Path
    ) -> None:
        mine = pay(7, 2026)
        pay_before(pay, 7, 2026)
        assert "Imported 0; 1 were" in import_cache("--calls", str(calls))
        assert pay(7, 2026) == mine

    def test_what_failed_is_left_as_it_is_and_told(
        self, old_cache: BaseCache, calls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(Effect.objects, "create", lambda **fields: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                pay(7, 2026)
        pay_before(pay, 7, 2026)
        said = import_cache("--calls", str(calls))
        assert "Imported 0; 1 were" in said
        assert f"{TaskExecution.objects.get().key}: failed here, and would run again" in said

    def test_what_expired_here_and_lives_there_is_imported(
        self, old_cache: BaseCache, calls: Path, ledger_clock: Clock
    ) -> None:
        pay(7, 2026)
        ledger_clock.forward(hours=73)
        paid = pay_before(pay, 7, 2026)
        assert "Imported 1" in import_cache("--calls", str(calls))
        assert pay(7, 2026) == paid


class TestWhatIsNotKnown:
    def test_a_completion_that_no_call_accounts_for_is_an_error_that_names_it(
        self, old_cache: BaseCache, calls: Path
    ) -> None:
        pay_before(pay, 7, 2026)
        pay_before(pay, 10, 2026)
        told = refused("--calls", str(calls))
        assert "1 live keys" in told
        assert old_key(pay.name, (10, 2026), {}, None) in told
        assert TaskExecution.objects.count() == 1  # the others are imported

    def test_tasks_that_are_not_under_the_ledger_yet_are_only_counted(
        self, old_cache: BaseCache
    ) -> None:
        for number in (1, 2):
            old_cache.set(old_key("shop.tasks.not_yet", (number,), {}, None), "done")
        assert "2 live keys of the cache are of tasks that are not under" in import_cache()


class TestOtherCaches:
    def test_one_that_cannot_list_its_keys_needs_the_calls(
        self, files: BaseCache, calls: Path
    ) -> None:
        assert "cannot list its keys. Say with --calls" in refused()
        paid = pay_before(pay, 7, 2026)
        assert "Imported 1" in import_cache("--calls", str(calls))
        assert pay(7, 2026) == paid
        known = check_idempotency_status(pay.name, [7, 2026])
        assert known["expires_at"] - known["completed_at"] == dt.timedelta(hours=72)  # the task's

    @pytest.mark.parametrize("kind", ["locmem.LocMemCache", "dummy.DummyCache"])
    def test_one_that_no_other_process_sees_is_refused(self, use_cache: Any, kind: str) -> None:
        use_cache(f"django.core.cache.backends.{kind}", "")
        assert "no other process can see" in refused()


@pytest.mark.django_db(databases=["default", "second"])
def test_each_database_is_imported_into_by_itself(files: BaseCache, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps({"task": weigh.name, "args": [1]}))
    files.set(old_key(weigh.name, (1,), {}, None), "done")
    assert "Others belong to --database second." in import_cache("--calls", str(path))
    assert not TaskExecution.objects.using("second").exists()
    out = StringIO()
    options = ["--cache", "old", "--old-key", OLD_KEY, "--calls", str(path)]
    call_command("ledger", "--database", "second", "import-cache", *options, stdout=out)
    assert "Imported 1" in out.getvalue()
    assert TaskExecution.objects.using("second").count() == 1


def of_nothing() -> str:
    return ""


class TestBadInput:
    @pytest.mark.parametrize(
        ("line", "problem"),
        [
            ("{", "line 2 is not JSON"),
            ("[1]", 'line 2 is no call. Write {"task"'),
            ('{"task": "shop.tasks.pay", "arguments": [7]}', "line 2 is no call"),
            ('{"task": "shop.tasks.pay", "args": 7}', "line 2 is no call"),
            ('{"task": "shop.tasks.pay", "args": [1, 2, 3, 4]}', "line 2: shop"),
            ('{"task": "shop.tasks.buy"}', "line 2: 'shop.tasks.buy' is no task under the ledger"),
            ('{"task": "shop.tasks.report", "date": "today"}', "line 2: Invalid isoformat"),
        ],
    )
    def test_a_line_that_is_no_call_is_named_and_nothing_is_imported(
        self, files: BaseCache, calls: Path, line: str, problem: str
    ) -> None:
        pay_before(pay, 7, 2026)
        calls.write_text(f"{calls.read_text().splitlines()[0]}\n{line}\n")
        told = refused("--calls", str(calls))
        assert problem.replace("line 2: shop", "line 2: ") in told
        assert "Nothing was imported." in told
        assert not TaskExecution.objects.exists()

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (["--calls", "nowhere.jsonl"], "nowhere.jsonl"),
            (["--cache", "nowhere"], "There is no cache 'nowhere'. settings.CACHES has: default"),
            (["--old-key", "nowhere.old_key"], "--old-key nowhere.old_key: No module named"),
            (["--old-key", f"{__name__}.OLD_KEY"], "is a str, not a function"),
            (
                ["--old-key", f"{__name__}.of_nothing", "--calls", "/dev/null"],
                "of_nothing() takes 0",
            ),
        ],
    )
    def test_an_option_that_leads_nowhere_says_so(
        self, files: BaseCache, options: list[str], problem: str
    ) -> None:
        assert problem in refused(*options)
