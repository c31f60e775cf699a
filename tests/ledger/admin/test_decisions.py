"""Decisions: confirmed, with a reason and a name, by who may, about what was seen, once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from celery import shared_task
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from ledger import current_execution, idempotent_daily_task, idempotent_task
from ledger.admin import deciding as deciding_module
from ledger.admin.decisions import DECISIONS
from ledger.models import ExecutionEvent, OutboxMessage, TaskExecution
from tests.ledger.admin.conftest import Staff
from tests.ledger.admin.site import (
    LIST,
    deciding,
    detail,
    ids,
    listed,
    seen,
    shown,
    text_of,
    told,
    unguarded,
)
from tests.ledger.inbox import Inbox
from tests.ledger.threads import at_once
from tests.testapp.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

runs: list[int] = []


@shared_task(name="tests.decisions.transfer")
@idempotent_task(ttl_hours=24, guarantee="at_most_once")
def transfer(number: int) -> dict[str, int]:
    runs.append(number)
    if runs.count(number) == 1:
        raise ConnectionError("no answer")
    return {"booked": number}


@shared_task(name="tests.decisions.calculate")
@idempotent_task()
def calculate(number: int, note: str = "", **more: Any) -> int:
    Effect.objects.create(key=str(number))
    if number < 0:
        raise ValueError(number)
    return number


@shared_task(name="tests.decisions.daily")
@idempotent_daily_task()
def daily(number: int) -> str:
    runs.append(number)
    if runs.count(number) == 1:
        raise ValueError(number)
    return str(current_execution().period)


@shared_task(name="tests.decisions.secretive")
@idempotent_task(redact=("iban",))
def secretive(iban: str) -> None:
    raise ValueError("no")


@shared_task(name="tests.decisions.dated")
@idempotent_task()
def dated(day: dt.date) -> None:
    raise ValueError("no")


@pytest.fixture(autouse=True)
def no_runs() -> None:
    runs.clear()


def held(number: int = 7) -> TaskExecution:
    with pytest.raises(ConnectionError):
        transfer(number)
    return TaskExecution.objects.latest("id")


def completed(number: int = 7) -> TaskExecution:
    calculate(number)
    return TaskExecution.objects.latest("id")


def failed(call: Callable[[Any], object] = calculate, argument: Any = -7) -> TaskExecution:
    with pytest.raises(ValueError):  # noqa: PT011
        call(argument)
    return TaskExecution.objects.latest("id")


def lost(guarantee: str = "exactly_once") -> TaskExecution:
    """Claimed an hour ago by a worker that nobody knows any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_claim(%s, 'gone', '', '{}', null, %s, '', '', 'gone/1', 3, false)",
            [f"idempotent:gone:{'0' * 64}", guarantee],
        )
        cursor.execute(
            "update ledger_taskexecution set started_at = ledger_now() - interval '1 hour'"
            " where task_name = 'gone'"
        )
    return TaskExecution.objects.latest("id")


def take(client: Client, verb: str, *executions: TaskExecution, **form: str) -> Any:
    """Look at the page that asks for confirmation, and confirm."""
    url = deciding(verb, *executions)
    page = client.get(url).content.decode()
    return client.post(url, {"reason": "because", **form, "seen": seen(page)}, follow=True)


def events(execution: TaskExecution, actor: str = "admin") -> list[tuple[str, str]]:
    rows = ExecutionEvent.objects.filter(execution=execution, actor=actor).order_by("id")
    return list(rows.values_list("kind", "reason"))


class TestRelease:
    def test_the_page_says_what_it_is_about_and_what_a_result_looks_like(
        self, staff: Staff
    ) -> None:
        runs.append(1)
        transfer(1)
        url = deciding("release", held(7))
        ana, eve = staff("can_release", "can_view_values", name="ana"), staff("can_release")
        page = text_of(ana.get(url).content.decode())
        assert "tests.decisions.transfer" in page
        assert "number=7" in page
        assert 'The last one returned {"booked": 1}' in page
        page = text_of(eve.get(url).content.decode())
        assert "tests.decisions.transfer" in page
        assert "number=7" not in page
        assert "booked" not in page

    def test_as_completed_it_answers_with_the_result(self, admin_client: Client) -> None:
        row = held()
        response = take(admin_client, "release", row, outcome="completed", result='{"booked": 7}')
        assert response.redirect_chain == [(detail(row), 302)]
        assert told(response) == "1 released."
        assert transfer(7) == {"booked": 7}
        assert runs == [7]
        row.refresh_from_db()
        assert row.expires_at is not None
        assert events(row) == [("released", "completed: because")]

    def test_as_failed_the_next_delivery_runs_it(self, admin_client: Client) -> None:
        row = held()
        take(admin_client, "release", row, outcome="failed")
        assert transfer(7) == {"booked": 7}
        row.refresh_from_db()
        assert (row.state, row.attempt) == ("completed", 2)

    def test_as_retired_it_runs_as_a_new_one(self, admin_client: Client) -> None:
        row = held()
        take(admin_client, "release", row, outcome="retired")
        assert transfer(7) == {"booked": 7}
        row.refresh_from_db()
        assert row.retired_at is not None
        assert TaskExecution.objects.latest("id").attempt == 1

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({"outcome": "completed", "reason": " "}, "This field is required"),
            ({"reason": "because"}, "This field is required"),
            ({"outcome": "perhaps"}, "not one of the available choices"),
            ({"outcome": "completed", "result": "{"}, "This is no JSON"),
            ({"outcome": "failed", "result": "1"}, "Only what took effect has a result"),
            ({"outcome": "completed", "result": '{"__type__": "date", "__value__": "x"}'}, "JSON"),
        ],
    )
    def test_what_is_missing_or_wrong_is_said_and_nothing_done(
        self, admin_client: Client, form: dict[str, str], error: str
    ) -> None:
        row = held()
        response = take(admin_client, "release", row, **form)
        page = response.content.decode()
        assert error in page
        assert len(seen(page)) == 1
        row.refresh_from_db()
        assert row.state == "held"

    def test_a_result_that_is_too_large_is_refused(
        self, admin_client: Client, settings: Any
    ) -> None:
        settings.LEDGER = {"MAX_RESULT_BYTES": 10}
        row = held()
        result = '"' + "x" * 20 + '"'
        response = take(admin_client, "release", row, outcome="completed", result=result)
        assert "Not released" in told(response)
        row.refresh_from_db()
        assert row.state == "held"


class TestClear:
    def test_what_is_completed_may_run_again(self, admin_client: Client) -> None:
        row = completed()
        assert calculate(7) == 7
        take(admin_client, "clear", row)
        calculate(7)
        assert Effect.objects.filter(key="7").count() == 2
        row.refresh_from_db()
        assert row.retired_at is not None
        assert row.result == 7
        assert events(row) == [("retired", "because")]

    def test_an_execution_keeps_its_number_whatever_numbers_look_like(
        self, admin_client: Client, settings: Settings
    ) -> None:
        settings.USE_THOUSAND_SEPARATOR = True
        row = completed()
        with unguarded():
            TaskExecution.objects.update(id=1_234_567)
        row = TaskExecution.objects.get()
        page = shown(admin_client, row)
        assert f'href="{deciding("clear", row)}"' in page
        assert "1,234,567" not in page
        assert seen(admin_client.get(deciding("clear", row)).content.decode()) != []

    def test_many_at_once_from_the_list(self, admin_client: Client) -> None:
        rows = [completed(1), completed(2), held()]
        chosen = {"action": "clear", "_selected_action": [row.pk for row in rows], "index": "0"}
        response = admin_client.post(f"{LIST}?live=yes", chosen)
        page = admin_client.get(response["Location"]).content.decode()
        assert len(seen(page)) == 2
        assert "It is held: release it instead." in page
        form = {"reason": "a bad rate", "seen": seen(page), "back": f"{LIST}?live=yes"}
        response = admin_client.post(response["Location"], form, follow=True)
        assert response.redirect_chain == [(f"{LIST}?live=yes", 302)]
        assert told(response) == "2 cleared."
        assert ids(listed(admin_client, live="yes")) == [rows[2].pk]

    def test_no_more_than_a_page_can_show(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deciding_module, "MOST", 2)
        rows = [completed(number) for number in range(3)]
        chosen = {"action": "clear", "_selected_action": [row.pk for row in rows], "index": "0"}
        response = admin_client.post(LIST, chosen, follow=True)
        assert "Choose fewer at a time" in told(response)

    def test_a_page_elsewhere_is_no_way_back(self, admin_client: Client) -> None:
        row = completed()
        form = {"reason": "x", "seen": f"{row.pk}.1.completed", "back": "https://evil.example/"}
        response = admin_client.post(deciding("clear", row), form)
        assert response["Location"] == detail(row)


class TestRunAgain:
    def test_what_failed_is_published_and_runs(self, admin_client: Client, inbox: Inbox) -> None:
        row = failed()
        Effect.objects.all().delete()
        response = take(admin_client, "run_again", row)
        assert told(response) == "1 published again."
        ((kind, reason),) = events(row)
        arrived = inbox.take()
        assert (kind, reason) == ("published", f"as {arrived.request.id}: because")
        assert isinstance(arrived.run(), ValueError)
        row.refresh_from_db()
        assert (row.attempt, row.task_id) == (2, arrived.request.id)
        assert OutboxMessage.objects.get().published_at is not None
        assert inbox.is_empty

    def test_it_stays_the_run_of_its_day(self, admin_client: Client, inbox: Inbox) -> None:
        row = failed(daily, 7)
        with unguarded(), connection.cursor() as cursor:  # as if that day had been another one
            cursor.execute(
                "update ledger_taskexecution set period = '2026-01-31',"
                " key = regexp_replace(key, '[^:]*$', '2026-01-31')"
            )
        take(admin_client, "run_again", row)
        assert inbox.take().run() == "2026-01-31"
        row.refresh_from_db()
        assert row.state == "completed"

    def test_all_kinds_of_arguments_are_had_back(self, admin_client: Client, inbox: Inbox) -> None:
        with pytest.raises(ValueError, match="-7"):
            calculate(-7, note="ü👩‍👩‍👧‍👦", further=[1, {"a": None}], another=1.5)
        row = TaskExecution.objects.latest("id")
        take(admin_client, "run_again", row)
        inbox.take().run()
        row.refresh_from_db()
        assert row.attempt == 2

    @pytest.mark.parametrize(
        ("call", "argument"), [(secretive, "DE02 1203"), (dated, dt.date(2026, 1, 1))]
    )
    def test_what_is_not_kept_in_full_is_not_guessed(
        self, admin_client: Client, inbox: Inbox, call: Any, argument: object
    ) -> None:
        row = failed(call, argument)
        page = admin_client.get(deciding("run_again", row)).content.decode()
        assert seen(page) == []
        assert "cannot be had back" in page
        assert "Publish it from where it came from" in page
        form = {"reason": "x", "seen": f"{row.pk}.1.failed"}
        response = admin_client.post(deciding("run_again", row), form, follow=True)
        assert "cannot be had back" in told(response)
        assert inbox.is_empty
        assert events(row) == []

    def test_what_would_be_answered_or_must_be_decided_first_is_refused(
        self, admin_client: Client
    ) -> None:
        for row, why in (
            (completed(), "Clear it first"),
            (held(), "release it first"),
            (lost(), "recover it first"),
        ):
            assert why in admin_client.get(deciding("run_again", row)).content.decode()

    def test_a_cleared_one_runs_again_but_not_beside_its_successor(
        self, admin_client: Client, inbox: Inbox
    ) -> None:
        row = completed()
        take(admin_client, "clear", row)
        take(admin_client, "run_again", row)
        assert inbox.take().run() == 7
        page = admin_client.get(deciding("run_again", row)).content.decode()
        assert "newer execution" in page


class TestRecover:
    @pytest.mark.parametrize(
        ("guarantee", "state"), [("exactly_once", "failed"), ("at_most_once", "held")]
    )
    def test_what_runs_without_a_worker(
        self, admin_client: Client, guarantee: str, state: str
    ) -> None:
        row = lost(guarantee)
        response = take(admin_client, "recover", row)
        assert told(response) == "1 recovered."
        row.refresh_from_db()
        assert row.state == state
        assert ("recovered", "because") in events(row)

    def test_whose_worker_lives_is_left_alone(self, admin_client: Client) -> None:
        pages = []

        @idempotent_task(guarantee="at_least_once")
        def busy() -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "update ledger_taskexecution set started_at = now() - interval '1 hour'"
                )
            row = TaskExecution.objects.get()
            pages.append(admin_client.get(deciding("recover", row)).content.decode())
            form = {"reason": "x", "seen": f"{row.pk}.1.running"}
            pages.append(told(admin_client.post(deciding("recover", row), form, follow=True)))

        busy()
        assert "only what runs without a worker" in pages[0]
        assert "Not recovered" in pages[1]
        assert TaskExecution.objects.get().state == "completed"


class TestTwoPeople:
    def test_the_second_is_told_what_is_the_case_now(
        self, admin_client: Client, staff: Staff
    ) -> None:
        row = held()
        other = staff("can_release", name="kim")
        url = deciding("release", row)
        form = {
            "outcome": "completed",
            "reason": "booked",
            "seen": seen(other.get(url).content.decode()),
        }
        take(admin_client, "release", row, outcome="failed")
        response = other.post(url, form, follow=True)
        assert "has changed since you looked: it was held in attempt 1, and is failed" in told(
            response
        )
        assert events(row, "kim") == []

    def test_a_decision_is_not_about_the_next_time_it_is_held(
        self, admin_client: Client, staff: Staff
    ) -> None:
        row = held()
        other = staff("can_release", name="kim")
        url = deciding("release", row)
        form = {
            "outcome": "completed",
            "reason": "booked",
            "seen": seen(other.get(url).content.decode()),
        }
        take(admin_client, "release", row, outcome="failed")
        runs.clear()
        with pytest.raises(ConnectionError):
            transfer(7)
        row.refresh_from_db()
        assert (row.state, row.attempt) == ("held", 2)
        response = other.post(url, form, follow=True)
        assert "is held in attempt 2" in told(response)
        row.refresh_from_db()
        assert row.state == "held"

    def test_of_many_at_the_same_moment_one_wins(self, staff: Staff) -> None:
        row = held()
        people = [staff("can_release", name=f"person{number}") for number in range(6)]
        url = deciding("release", row)
        mark = seen(people[0].get(url).content.decode())

        def press(number: int) -> str:
            outcome = ("completed", "failed", "retired")[number % 3]
            form = {"outcome": outcome, "reason": "mine", "seen": mark}
            return told(people[number].post(url, form, follow=True))

        answers = at_once(6, press)
        assert sorted(str(answer).startswith("1 released.") for answer in answers) == [
            *[False] * 5,
            True,
        ], answers
        assert all("Not released" in str(a) for a in answers if "1 released" not in str(a))
        assert ExecutionEvent.objects.filter(execution=row, kind="released").count() == 1

    def test_what_is_being_worked_on_is_left_alone_at_once(
        self, admin_client: Client, session: Callable[[], psycopg.Connection]
    ) -> None:
        row = held()
        other = session()
        other.autocommit = False
        other.execute("select from ledger_taskexecution where id = %s for update", [row.pk])
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = '3s'")
            response = take(admin_client, "release", row, outcome="failed")
            cursor.execute("reset statement_timeout")
        other.rollback()
        assert "being worked on, or decided about" in told(response)
        row.refresh_from_db()
        assert row.state == "held"

    def test_a_decision_that_was_not_offered_is_refused(self, admin_client: Client) -> None:
        row = held()
        form = {"reason": "x", "seen": f"{row.pk}.1.held"}
        response = admin_client.post(deciding("clear", row), form, follow=True)
        assert "release it instead" in told(response)
        row.refresh_from_db()
        assert (row.state, row.retired_at) == ("held", None)

    def test_a_row_that_is_gone_or_made_up_is_no_error(self, admin_client: Client) -> None:
        url = deciding("clear", completed())
        form = {"reason": "x", "seen": ["999999.1.completed", "nonsense", "'; --"]}
        response = admin_client.post(url, form, follow=True)
        assert "its retention has passed" in told(response)


class TestWhoMay:
    @pytest.mark.parametrize("verb", list(DECISIONS))
    def test_each_decision_needs_a_permission_of_its_own(self, staff: Staff, verb: str) -> None:
        makers: dict[str, Callable[[], TaskExecution]] = {
            "release": held,
            "clear": completed,
            "run_again": failed,
            "recover": lost,
        }
        row = makers[verb]()
        others = [f"can_{other}" for other in DECISIONS if other != verb]
        without = staff(*others, "can_view_values", name="without")
        allowed = staff(f"can_{verb}", name="allowed")
        url = deciding(verb, row)
        form = {"reason": "x", "outcome": "failed", "seen": f"{row.pk}.1.{row.state}"}
        assert without.get(url).status_code == 403
        assert without.post(url, form).status_code == 403
        assert f"/decide/{verb}/" not in shown(without, row)
        assert f'value="{verb}"' not in listed(without)
        assert allowed.get(url).status_code == 200
        assert f"/decide/{verb}/" in shown(allowed, row)
        assert f'value="{verb}"' in listed(allowed)
        assert allowed.post(url, form, follow=True).status_code == 200
        assert ExecutionEvent.objects.filter(execution=row, actor="allowed").exists()
        assert not ExecutionEvent.objects.filter(execution=row, actor="without").exists()

    def test_to_decide_one_must_be_allowed_to_look(self, staff: Staff) -> None:
        row = held()
        client = staff("can_release", name="blind")
        user = User.objects.get(username="blind")
        user.user_permissions.filter(codename="view_taskexecution").first().user_set.clear()
        assert client.get(deciding("release", row)).status_code == 403

    def test_there_is_no_other_decision(self, admin_client: Client) -> None:
        assert admin_client.get(deciding("delete", completed())).status_code == 404
