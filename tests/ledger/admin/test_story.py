"""An execution's page: its whole story in order, its values, its parts, and where it belongs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from celery import shared_task
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ledger import (
    ExecutionHeld,
    clear_idempotency_key,
    current_execution,
    idempotent_task,
    make_idempotency_key,
    release,
)
from ledger.admin import story
from ledger.models import ExecutionEvent, OutboxMessage, TaskExecution
from ledger.sweep import sweep
from ledger.testing import Clock
from tests.ledger.admin.site import detail, shown, text_of
from tests.ledger.inbox import Inbox
from tests.testapp.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)


@idempotent_task(ttl_hours=1)
def work(number: int) -> dict[str, Any]:
    if number < 0:
        raise ValueError(f"no {number}")
    return {"number": number}


LEAST = 0


@shared_task(name="tests.story.child")
@idempotent_task()
def child(number: int) -> int:
    if number < LEAST:
        raise ValueError("too small")
    return number


@shared_task(name="tests.story.parent")
@idempotent_task()
def parent(number: int) -> int:
    current_execution().enqueue(child.s(number))
    return number


def titles(page: str) -> list[str]:
    """The timeline's entries, by their titles."""
    timeline = re.search(r'<ol class="ledger-timeline">(.*?)</section>', page, re.DOTALL)
    assert timeline is not None
    return re.findall(r"<strong>(.*?)</strong>", timeline.group(1))


class TestTheTimeline:
    def test_of_an_ordinary_run(self, admin_client: Client) -> None:
        work(7)
        row = TaskExecution.objects.get()
        page = shown(admin_client, row)
        assert titles(page) == ["claimed", "completed"]
        assert row.key in page
        assert row.worker in page
        assert "attempt 1" in text_of(page)

    def test_of_a_failure_with_its_traceback(self, admin_client: Client) -> None:
        with pytest.raises(ValueError, match="no -1"):
            work(-1)
        page = shown(admin_client, TaskExecution.objects.get())
        assert titles(page) == ["claimed", "failed"]
        assert "<summary>Traceback</summary>" in page
        assert "raise ValueError" in page

    def test_of_all_that_can_happen_in_its_order(self, admin_client: Client) -> None:
        runs: list[int] = []

        @idempotent_task(guarantee="at_most_once", safe_to_retry=(ConnectionRefusedError,))
        def transfer() -> None:
            runs.append(1)
            raise (ConnectionRefusedError if len(runs) == 1 else ConnectionError)("no answer")

        with pytest.raises(ConnectionRefusedError):
            transfer()
        with pytest.raises(ConnectionError):
            transfer()
        row = TaskExecution.objects.get()
        release(row.key, "completed", result="booked", reason="the bank says so", actor="dana")
        transfer()
        clear_idempotency_key(f"{__name__}.{transfer.__qualname__}", reason="a test", actor="kim")
        page = shown(admin_client, row)
        assert titles(page) == [
            "claimed",
            "failed",
            "claimed again",
            "failed",
            "held",
            "released",
            "duplicate answered",
            "retired",
        ]
        text = text_of(page)
        assert "by dana completed: the bank says so" in text
        assert "by kim a test" in text
        assert "booked" in page

    def test_of_a_worker_that_died(self, admin_client: Client) -> None:
        with connection.cursor() as cursor:
            key = make_idempotency_key(f"{__name__}.work", [7])
            cursor.execute(
                "select ledger_claim(%s, %s, split_part(%s, ':', 3), '{}', null, 'exactly_once',"
                " '', '', 'gone/1', 3, false)",
                [key, f"{__name__}.work", key],
            )
        work(7)
        page = shown(admin_client, TaskExecution.objects.get())
        assert titles(page) == ["claimed", "worker lost", "taken over", "completed"]
        assert "gone/1" in page

    def test_of_its_expiry(self, admin_client: Client, clock: Clock) -> None:
        work(7)
        clock.forward(hours=2)
        sweep()
        page = shown(admin_client, TaskExecution.objects.get())
        assert titles(page) == ["claimed", "completed", "retired"]
        assert "expired" in text_of(page)

    def test_many_duplicates_are_one_entry(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(1 + story.FEW_DUPLICATES):
            work(7)
        row = TaskExecution.objects.get()
        few = ["claimed", "completed", *["duplicate answered"] * story.FEW_DUPLICATES]
        assert titles(shown(admin_client, row)) == few
        work(7)
        page = shown(admin_client, row)
        assert titles(page) == ["claimed", "completed", "4 duplicates answered"]
        assert "The last 4 of them" in page
        monkeypatch.setattr(story, "MOST_DUPLICATES", 4)
        assert "4 or more duplicates answered" in shown(admin_client, row)

    def test_thousands_of_duplicates_are_read_by_index(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(story, "MOST_DUPLICATES", 1000)
        work(7)
        row = TaskExecution.objects.get()
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into ledger_executionevent"
                " (execution_id, kind, at, attempt, task_id, worker, actor, reason, traceback)"
                " select %s - n %% 30, 'skipped', now(), 1, '', '', '', '', ''"
                " from generate_series(1, 60000) n",
                [row.pk],
            )
            cursor.execute("analyze ledger_executionevent")
        with CaptureQueriesContext(connection) as queries:
            page = shown(admin_client, row)
        assert "1,000 or more duplicates answered" in page
        asked = [q["sql"] for q in queries if '"ledger_executionevent"' in q["sql"]]
        assert len(asked) == 4
        for sql in asked:
            with connection.cursor() as cursor:
                cursor.execute(f"explain (analyze, format json) {sql}")
                plan = cursor.fetchone()[0]
            assert "Seq Scan" not in json.dumps(plan)


class TestItsParts:
    def test_its_steps_with_how_far_it_came(self, admin_client: Client) -> None:
        @idempotent_task(guarantee="at_least_once")
        def long_job() -> None:
            for number in range(60):
                current_execution().step(f"employee {number}", lambda n: {"net": n}, number)
            raise TimeoutError

        with pytest.raises(TimeoutError):
            long_job()
        page = shown(admin_client, TaskExecution.objects.get())
        assert "Steps: 60 done" in page
        assert page.count('<th scope="row">employee') == 50
        assert "{&quot;net&quot;: 59}" in page

    def test_its_follow_ups_and_back(self, admin_client: Client, inbox: Inbox) -> None:
        parent.delay(7)
        inbox.take().run()
        inbox.take().run()
        origin = TaskExecution.objects.get(task_name="tests.story.parent")
        follow_up = TaskExecution.objects.get(task_name="tests.story.child")
        page = shown(admin_client, origin)
        assert "Follow-ups: 1" in page
        assert f'href="{detail(follow_up)}"' in page
        page = shown(admin_client, follow_up)
        assert titles(page) == ["published by tests.story.parent", "claimed", "completed"]
        assert f'href="{detail(origin)}">tests.story.parent, execution {origin.pk}' in page
        assert text_of(page).count(f"tests.story.parent, execution {origin.pk}") == 2  # and root

    def test_its_parent_and_root_are_known_after_an_attempt_of_another_message(
        self, admin_client: Client, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parent.delay(-7)
        inbox.take().run()
        inbox.take().run()
        assert TaskExecution.objects.filter(state="failed").count() == 1
        monkeypatch.setattr(f"{__name__}.LEAST", -10)
        child.delay(-7)
        inbox.take().run()
        origin = TaskExecution.objects.get(task_name="tests.story.parent")
        again = TaskExecution.objects.get(task_name="tests.story.child")
        assert (again.state, again.attempt) == ("completed", 2)
        page = shown(admin_client, again)
        assert titles(page)[0] == "published by tests.story.parent"
        assert text_of(page).count(f"tests.story.parent, execution {origin.pk}") == 2  # and root

    def test_a_follow_up_that_waits_says_so(self, admin_client: Client) -> None:
        work(7)
        row = TaskExecution.objects.get()
        with connection.cursor() as cursor:
            cursor.execute(
                "insert into ledger_outboxmessage"
                " (execution_id, task_name, task_id, message, created_at, tries, error)"
                " values (%s, 'later', 'an-id', '{}', now(), 2, 'no broker')",
                [row.pk],
            )
        assert "not yet, 2 tries: no broker" in text_of(shown(admin_client, row))
        assert OutboxMessage.objects.count() == 1

    def test_what_it_wrote(self, admin_client: Client) -> None:
        @idempotent_task()
        def write() -> None:
            current_execution().wrote(Effect.objects.create(key="<b>one</b>"))

        write()
        page = shown(admin_client, TaskExecution.objects.get())
        assert "testapp.effect" in page
        assert "<b>one</b>" not in page

    def test_the_other_executions_of_its_key(self, admin_client: Client) -> None:
        work(7)
        work(8)
        clear_idempotency_key(f"{__name__}.work", [7])
        work(7)
        first, _, last = TaskExecution.objects.order_by("id")
        for one, other in ((first, last), (last, first)):
            lives = shown(admin_client, one).split('id="lives"')[1]
            assert re.findall(r"taskexecution/(\d+)/change", lives) == [str(other.pk)]


class TestThePage:
    def test_it_says_nothing_of_what_is_not_there(self, admin_client: Client) -> None:
        work(7)
        row = TaskExecution.objects.get()
        response = admin_client.get(detail(row).replace(f"/{row.pk}/", "/987654/"), follow=True)
        assert "doesn’t exist" in response.content.decode()

    def test_it_shows_the_values_as_they_were(self, admin_client: Client) -> None:
        work(7)
        row = TaskExecution.objects.get()
        page = shown(admin_client, row)
        assert page.count("{\n  &quot;number&quot;: 7\n}") == 2

    def test_it_says_what_its_state_means(self, admin_client: Client) -> None:
        work(7)
        row = TaskExecution.objects.get()
        assert "It took effect." in text_of(shown(admin_client, row))
        clear_idempotency_key(row.task_name, [7])
        assert "It is history." in text_of(shown(admin_client, row))
        with pytest.raises(ValueError, match="no -1"):
            work(-1)
        failed = TaskExecution.objects.latest("id")
        assert "The next delivery runs it." in text_of(shown(admin_client, failed))

    def test_a_held_one_offers_to_be_released(self, admin_client: Client) -> None:
        @idempotent_task(guarantee="at_most_once")
        def transfer() -> None:
            raise ConnectionError

        with pytest.raises(ConnectionError):
            transfer()
        with pytest.raises(ExecutionHeld):
            transfer()
        page = shown(admin_client, TaskExecution.objects.get())
        assert ">Release…</a>" in page
        assert "until somebody decides" in page
        assert ">Clear…</a>" not in page

    def test_its_parts_cost_the_same_number_of_queries_however_many(
        self, admin_client: Client
    ) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as asked:
                shown(admin_client, TaskExecution.objects.latest("id"))
            return len(asked)

        @idempotent_task(guarantee="at_least_once")
        def job(parts: int) -> None:
            for number in range(parts):
                current_execution().step(f"part {number}", lambda: None)
                current_execution().enqueue(child.s(number))
                current_execution().wrote(Effect.objects.create(key=str(number)))

        job(1)
        few = queries()
        job(20)
        assert queries() == few <= 21
        assert ExecutionEvent.objects.count() == 0
