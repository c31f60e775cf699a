"""The list: what it shows, filters and finds, at the same cost for many rows as for few."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from ledger import (
    ExecutionHeld,
    clear_idempotency_key,
    current_execution,
    idempotent_daily_task,
    idempotent_task,
)
from ledger.admin import list as list_module
from ledger.models import TaskExecution
from tests.ledger.admin.conftest import Staff
from tests.ledger.admin.site import LIST, ids, listed, text_of, unguarded

pytestmark = pytest.mark.django_db


@idempotent_task(ttl_hours=None)
def pay(employee: int, note: str = "") -> dict[str, Any]:
    if employee < 0:
        raise ValueError(note)
    return {"employee": employee, "note": note}


@idempotent_daily_task()
def report() -> str:
    return "done"


def fail(employee: int) -> TaskExecution:
    with pytest.raises(ValueError, match="no"):
        pay(employee, "no")
    return TaskExecution.objects.latest("id")


class TestWhatItShows:
    def test_what_matters_of_every_execution(self, admin_client: Client) -> None:
        report()
        report()
        row = TaskExecution.objects.get()
        page = listed(admin_client)
        assert ids(page) == [row.pk]
        assert row.task_name in page.replace("<wbr>", "")
        for text in ("completed", row.worker, row.args_hash[:8], "Celery"):
            assert text in page
        assert f"…:{row.period}" in page
        assert re.search(r"\d\.\d{3} s", page)
        assert re.search(r'field-duplicates[^>]*">1<', page)
        columns = re.findall(r'class="(?:sortable )?column-(\w+)', page)
        assert columns == list(list_module.ListOfExecutions.list_display)

    def test_what_it_was_called_with_to_those_who_may_see_values(
        self, admin_client: Client, staff: Staff
    ) -> None:
        pay(7, "for Dana")
        pay(8, "x" * 5000)
        page = text_of(listed(admin_client))
        assert "note=for Dana, employee=7" in page
        assert f"note={'x' * 64}…" in page
        assert not re.search("employee=7|arguments", text_of(listed(staff())), re.IGNORECASE)

    def test_times_with_their_zone_and_when_it_was_retired(self, admin_client: Client) -> None:
        pay(7)
        clear_idempotency_key(f"{__name__}.pay", [7])
        row = TaskExecution.objects.get()
        page = text_of(listed(admin_client))
        assert row.retired_at is not None
        for word, moment in (("", row.claimed_at), ("retired ", row.retired_at)):
            assert f"{word}{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" in page
        assert f"Times are those of {timezone.get_current_timezone_name()}." in page

    def test_where_nothing_is_found_why_and_the_way_back(self, admin_client: Client) -> None:
        pay(7)
        page = listed(admin_client, q="Dana")
        assert "Nothing was found. The search knows no names" in text_of(page)
        assert '<a href="?">Show all executions</a>' in page

    def test_the_state_as_text_in_a_colour(self, admin_client: Client) -> None:
        pay(1)
        fail(-1)
        page = listed(admin_client)
        assert '<span class="ledger-badge ledger-completed">completed</span>' in page
        assert '<span class="ledger-badge ledger-failed">failed</span>' in page
        assert "style=" not in page
        assert "ledger/admin.css" in page

    def test_a_run_without_an_end_has_no_duration(self, admin_client: Client) -> None:
        fail(-1)
        assert re.search(r'field-duration[^>]*">–<', listed(admin_client))

    def test_no_more_duplicates_are_counted_than_need_be(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(list_module, "MOST_DUPLICATES", 3)
        for _ in range(6):
            pay(1)
        assert re.search(r'field-duplicates[^>]*">3\+<', listed(admin_client))

    def test_it_costs_as_many_queries_for_many_rows_as_for_one(self, admin_client: Client) -> None:
        pay(0)
        with CaptureQueriesContext(connection) as one:
            listed(admin_client)
        for employee in range(1, 30):
            pay(employee)
            pay(employee)
        with CaptureQueriesContext(connection) as many:
            listed(admin_client)
        assert len(many) == len(one) <= 9
        sent = [query["sql"] for query in many.captured_queries]
        assert not [sql for sql in sent if '"result"' in sql or '"arguments"' in sql]
        assert not [sql for sql in sent if re.search(r"count\(\*\)(?! from \()", sql.lower())]


class TestFilters:
    def test_by_state_task_guarantee_and_whether_it_is_live(self, admin_client: Client) -> None:
        pay(1)
        pay(2)
        report()
        failed = fail(-1)
        clear_idempotency_key(f"{__name__}.pay", [1])
        assert len(ids(listed(admin_client))) == 4
        assert ids(listed(admin_client, state="failed")) == [failed.pk]
        assert len(ids(listed(admin_client, state="completed"))) == 3
        assert len(ids(listed(admin_client, task=f"{__name__}.report"))) == 1
        assert len(ids(listed(admin_client, live="no"))) == 1
        assert len(ids(listed(admin_client, live="yes"))) == 3
        assert len(ids(listed(admin_client, guarantee="exactly_once"))) == 4
        assert ids(listed(admin_client, guarantee="at_most_once")) == []
        both = listed(admin_client, task=f"{__name__}.pay", state="failed")
        assert ids(both) == [failed.pk]

    def test_every_task_is_offered_once(self, admin_client: Client) -> None:
        assert "By task" not in text_of(listed(admin_client))
        for employee in range(3):
            pay(employee)
        report()
        page = listed(admin_client)
        for name in ("pay", "report"):
            assert page.count(f'<a href="?task={__name__}.{name}">') == 1

    def test_a_task_that_changed_its_guarantee_is_found_under_both(
        self, admin_client: Client
    ) -> None:
        for employee in range(4):
            pay(employee)
        first, second, third, fourth = sorted(TaskExecution.objects.values_list("id", flat=True))
        with unguarded():
            TaskExecution.objects.filter(pk__in=[second, third]).update(guarantee="at_least_once")
        assert ids(listed(admin_client, task=f"{__name__}.pay")) == [fourth, third, second, first]
        assert ids(listed(admin_client, guarantee="at_least_once")) == [third, second]
        assert ids(listed(admin_client, guarantee="exactly_once")) == [fourth, first]

    def test_what_was_tried_more_than_once(self, admin_client: Client) -> None:
        runs: list[int] = []

        @idempotent_task()
        def second_time_lucky() -> None:
            runs.append(current_execution().attempt)
            if len(runs) == 1:
                raise ConnectionError

        with pytest.raises(ConnectionError):
            second_time_lucky()
        assert ids(listed(admin_client, look="repeated")) == []
        second_time_lucky()
        assert len(ids(listed(admin_client, look="repeated"))) == 1

    @pytest.mark.parametrize("name", ["state", "look", "guarantee", "live"])
    def test_a_choice_that_is_none_is_refused(self, admin_client: Client, name: str) -> None:
        response = admin_client.get(LIST, {name: "nonsense"})
        assert (response.status_code, response["Location"]) == (302, f"{LIST}?e=1")

    @pytest.mark.parametrize(
        "lookup", ["arguments__contains", "error__contains", "worker", "key__startswith", "result"]
    )
    def test_no_other_field_can_be_asked(self, admin_client: Client, lookup: str) -> None:
        assert admin_client.get(LIST, {lookup: "1"}).status_code == 400


@pytest.mark.django_db(transaction=True)
class TestWhatNeedsALook:
    def test_what_is_held(self, admin_client: Client) -> None:
        @idempotent_task(guarantee="at_most_once")
        def transfer() -> None:
            raise ConnectionError("no answer")

        pay(1)
        with pytest.raises(ConnectionError):
            transfer()
        with pytest.raises(ExecutionHeld):
            transfer()
        page = listed(admin_client, look="held")
        assert len(ids(page)) == 1
        assert "ledger-held" in page
        assert ids(page) == ids(listed(admin_client, state="held"))

    def test_what_runs_without_a_worker(self, admin_client: Client) -> None:
        @idempotent_task(guarantee="at_least_once")
        def look_at_oneself() -> list[str]:
            started = "started_at = ledger_now() - interval '1 hour'"
            with connection.cursor() as cursor:
                cursor.execute(f"update ledger_taskexecution set {started} where state = 'running'")
            return [listed(admin_client, look="lost"), listed(admin_client, state="running")]

        with connection.cursor() as cursor:
            cursor.execute(
                "select ledger_claim('idempotent:gone:0', 'gone', '', '{}', null,"
                " 'exactly_once', '', '', 'elsewhere/1', 3, false)"
            )
        alone = TaskExecution.objects.get()
        assert ids(listed(admin_client, look="lost")) == []  # it may be about to take its lock
        lost, running = look_at_oneself()
        assert ids(lost) == [alone.pk]
        assert "running, no worker" in lost
        assert len(ids(running)) == 2
        assert running.count("running, no worker") == 1
        assert "so far" in running


class TestDates:
    @pytest.fixture
    def three_days(self) -> list[int]:
        for employee, day in enumerate(("2025-03-30", "2025-12-31", "2026-01-01")):
            pay(employee)
            moment = f"{day} 23:30 Europe/Berlin"
            with unguarded(), connection.cursor() as cursor:
                cursor.execute(
                    "update ledger_taskexecution set claimed_at = %s, started_at = %s where id ="
                    " (select max(id) from ledger_taskexecution)",
                    [moment, moment],
                )
        return sorted(TaskExecution.objects.values_list("id", flat=True))

    def test_one_leads_from_years_to_days(
        self, admin_client: Client, three_days: list[int]
    ) -> None:
        first, second, third = three_days
        page = listed(admin_client)
        assert ids(page) == [third, second, first]
        assert "?claimed_at__year=2025" in page
        assert "?claimed_at__year=2026" in page
        year = {"claimed_at__year": "2025"}
        page = listed(admin_client, **year)
        assert ids(page) == [second, first]
        assert "December 2025" in page
        month = year | {"claimed_at__month": "12"}
        page = listed(admin_client, **month)
        assert ids(page) == [second]
        assert "December 31" in page
        assert ids(listed(admin_client, **month, claimed_at__day="31")) == [second]
        assert ids(listed(admin_client, **month, claimed_at__day="30")) == []

    def test_a_row_whose_id_was_drawn_out_of_order_is_on_its_own_day(
        self, admin_client: Client
    ) -> None:
        moments = ("2025-12-31 23:59:59.9", "2026-01-01 00:00:00.2", "2025-12-31 23:59:59.8")
        for employee, moment in enumerate(moments):
            pay(employee)
            with unguarded(), connection.cursor() as cursor:
                cursor.execute(
                    "update ledger_taskexecution set claimed_at = %s::timestamp at time zone"
                    " 'Europe/Berlin' where id = (select max(id) from ledger_taskexecution)",
                    [moment],
                )
        first, second, third = sorted(TaskExecution.objects.values_list("id", flat=True))
        day = {"claimed_at__year": "2025", "claimed_at__month": "12", "claimed_at__day": "31"}
        assert ids(listed(admin_client, **day)) == [third, first]
        assert ids(listed(admin_client, claimed_at__year="2026")) == [second]

    @pytest.mark.parametrize(
        "query",
        [
            {"claimed_at__year": "0"},
            {"claimed_at__year": "9999"},
            {"claimed_at__year": "٢٠٢٦"},
            {"claimed_at__year": "2026", "claimed_at__month": "13"},
            {"claimed_at__gte": "2026-01-01"},
        ],
    )
    def test_what_is_no_date_is_refused(self, admin_client: Client, query: dict[str, str]) -> None:
        assert admin_client.get(LIST, query).status_code == 400

    def test_a_day_that_no_month_has_is_refused(self, admin_client: Client) -> None:
        query = {"claimed_at__year": "2026", "claimed_at__month": "2", "claimed_at__day": "30"}
        assert admin_client.get(LIST, query)["Location"] == f"{LIST}?e=1"


class TestPages:
    @pytest.fixture
    def seven(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        monkeypatch.setattr(list_module.ListOfExecutions, "list_per_page", 3)
        for employee in range(7):
            pay(employee)
        return sorted(TaskExecution.objects.values_list("id", flat=True), reverse=True)

    def follow(self, client: Client, page: str, rel: str) -> str | None:
        found = re.search(rf'<a href="\?([^"]*)" rel="{rel}"', page)
        if found is None:
            return None
        query = dict(part.split("=") for part in found.group(1).replace("&amp;", "&").split("&"))
        return listed(client, **query)

    def test_one_can_go_through_all_of_them_and_back(
        self, admin_client: Client, seven: list[int]
    ) -> None:
        first = listed(admin_client)
        assert ids(first) == seven[:3]
        assert self.follow(admin_client, first, "prev") is None
        second = self.follow(admin_client, first, "next")
        assert second is not None
        assert ids(second) == seven[3:6]
        last = self.follow(admin_client, second, "next")
        assert last is not None
        assert ids(last) == seven[6:]
        assert self.follow(admin_client, last, "next") is None
        back = self.follow(admin_client, last, "prev")
        assert back is not None
        assert ids(back) == seven[3:6]
        back = self.follow(admin_client, back, "prev")
        assert back is not None
        assert ids(back) == seven[:3]
        assert self.follow(admin_client, back, "prev") is None

    def test_a_page_keeps_the_filter(self, admin_client: Client, seven: list[int]) -> None:
        fail(-1)
        page = listed(admin_client, state="completed")
        second = self.follow(admin_client, page, "next")
        assert second is not None
        assert ids(second) == seven[3:6]

    def test_what_is_new_moves_nothing(self, admin_client: Client, seven: list[int]) -> None:
        first = listed(admin_client)
        pay(99)
        second = self.follow(admin_client, first, "next")
        assert second is not None
        assert ids(second) == seven[3:6]

    @pytest.mark.parametrize("place", ["2", "older-", "older-x", "sideways-3", "older-" + "9" * 30])
    def test_a_place_that_is_none_is_the_first_page(
        self, admin_client: Client, seven: list[int], place: str
    ) -> None:
        assert ids(listed(admin_client, p=place)) == seven[:3]

    @pytest.mark.parametrize("query", [{"o": "4"}, {"all": ""}])
    def test_it_is_never_sorted_otherwise_nor_shown_all_at_once(
        self, admin_client: Client, seven: list[int], query: dict[str, str]
    ) -> None:
        assert ids(listed(admin_client, **query)) == seven[:3]


class TestSearch:
    def test_by_key_of_the_live_and_the_retired(self, admin_client: Client) -> None:
        pay(1)
        pay(2)
        key = TaskExecution.objects.latest("id").key
        assert len(ids(listed(admin_client, q=key))) == 1
        clear_idempotency_key(f"{__name__}.pay", [2])
        pay(2)
        assert len(ids(listed(admin_client, q=f" {key} "))) == 2
        assert ids(listed(admin_client, q="idempotent:nothing")) == []

    def test_by_celery_task_id(self, admin_client: Client) -> None:
        pay(1)
        pay(2)
        row = TaskExecution.objects.latest("id")
        with unguarded():
            TaskExecution.objects.filter(pk=row.pk).update(task_id="3e1c7a52-the-task-id")
        assert ids(listed(admin_client, q="3e1c7a52-the-task-id")) == [row.pk]
        assert ids(listed(admin_client, q="3e1c7a52")) == []

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("4711", 2),
            ("employee=4711", 2),
            (" employee = 4711 ", 2),
            ("note=4711", 1),
            ("year=4711", 0),
            ("471", 0),
            ("a note", 1),
            ("note=a note", 1),
            ("'; --", 0),
            ('" || true || "', 0),
            ("$.*", 0),
            ("%", 0),
            ("null", 0),
            ("1e999", 0),
            ("9" * 5000, 0),
        ],
    )
    def test_by_the_value_of_an_argument(self, admin_client: Client, text: str, found: int) -> None:
        pay(4711)
        pay(4711, "a note")
        pay(5, "4711")
        expected = found + (text == "4711")  # as text it is another's note
        assert len(ids(listed(admin_client, q=text))) == expected

    def test_who_may_not_see_values_cannot_find_them_out(self, staff: Staff) -> None:
        pay(4711)
        key = TaskExecution.objects.get().key
        blind = staff()
        assert "argument" not in text_of(listed(blind))
        for text in ("4711", "employee=4711"):
            assert ids(listed(blind, q=text)) == []
        assert len(ids(listed(blind, q=key))) == 1
        assert len(ids(listed(staff("can_view_values", name="other"), q="4711"))) == 1


class TestNothingChanges:
    def test_there_is_no_adding_no_editing_and_no_deleting(self, admin_client: Client) -> None:
        pay(1)
        before = TaskExecution.objects.values().get()
        change = f"{LIST}{before['id']}/change/"
        assert admin_client.get(f"{LIST}add/").status_code == 403
        assert admin_client.post(change, {"state": "failed"}).status_code == 403
        delete = f"{LIST}{before['id']}/delete/"
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [before["id"]], "post": "yes"}
        admin_client.post(LIST, chosen)
        assert TaskExecution.objects.values().get() == before
        assert 'name="_save"' not in admin_client.get(change).content.decode()
        assert "delete_selected" not in listed(admin_client)

    def test_only_who_may_view_sees_it(self, client: Client, staff: Staff) -> None:
        pay(1)
        row = TaskExecution.objects.get()
        paths = [LIST, f"{LIST}{row.pk}/change/", f"{LIST}export.csv"]
        for path in paths:
            assert client.get(path).status_code == 302  # to the login
        viewer = staff()
        for path in paths:
            assert viewer.get(path).status_code == 200
        viewer.get(LIST).wsgi_request.user.user_permissions.clear()
        for path in paths:
            assert viewer.get(path).status_code == 403
