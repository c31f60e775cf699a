import json
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import RequestFactory

from examples import view, webhook
from examples.models import Employee, Entry
from ledger.models import TaskExecution
from tests.examples.marks import commits
from tests.ledger.threads import Elsewhere

pytestmark = pytest.mark.django_db


def pay(**fields: Any) -> HttpResponse:
    return view.pay(RequestFactory().post("/pay", fields))


def deliver(**event: Any) -> HttpResponse:
    request = RequestFactory().post("/hook", json.dumps(event), content_type="application/json")
    return webhook.receive(request)


class TestView:
    def test_a_page_that_is_sent_twice_pays_once(self) -> None:
        page = {"token": uuid4(), "account": "rent", "amount": "950.00"}
        answers = [pay(**page), pay(**page)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        assert Entry.objects.get().amount == Decimal("950.00")

    def test_a_new_page_pays_again(self) -> None:
        for _ in range(2):
            pay(token=uuid4(), account="rent", amount="950.00")
        assert Entry.objects.count() == 2

    def test_a_page_that_was_changed_on_its_way_back_is_refused(self) -> None:
        token = uuid4()
        pay(token=token, account="rent", amount="950.00")
        assert pay(token=token, account="rent", amount="9.50").status_code == 422
        assert Entry.objects.count() == 1

    def test_what_is_missing_is_named_and_nothing_is_booked(self) -> None:
        answer = pay(account="rent", amount="much")
        assert answer.status_code == 400
        assert {"token", "amount"} == set(json.loads(answer.content)["errors"])
        assert not TaskExecution.objects.exists()


class TestWebhook:
    def test_an_event_that_comes_twice_is_booked_once_and_answered_twice(self) -> None:
        event = {"id": "evt_1", "account": "sales", "amount": "20.00"}
        assert [deliver(**event).status_code for _ in range(2)] == [200, 200]
        assert Entry.objects.count() == 1

    def test_an_event_that_failed_is_booked_when_it_comes_again(self) -> None:
        event = {"id": "evt_1", "account": "x" * 51, "amount": "20.00"}
        with pytest.raises(Exception, match="too long"):
            deliver(**event)
        assert deliver(**event | {"account": "sales"}).status_code == 200
        assert Entry.objects.count() == 1


@commits
def test_an_event_that_is_being_booked_comes_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    create = Entry.objects.create

    def create_while_it_comes_again(**fields: Any) -> Entry:
        with Elsewhere() as elsewhere:
            answers.append(elsewhere.call(lambda: deliver(**event)).result(30))
        return create(**fields)

    event = {"id": "evt_1", "account": "sales", "amount": "20.00"}
    monkeypatch.setattr(Entry.objects, "create", create_while_it_comes_again)
    assert deliver(**event).status_code == 200
    assert [(a.status_code, a.headers["Retry-After"]) for a in answers] == [(503, "1")]
    assert Entry.objects.count() == 1


class TestCommand:
    def test_the_second_host_raises_nobodys_pay(self) -> None:
        Employee.objects.create(name="Ada", salary=Decimal(4000))
        said = [self.run("2026", "5") for _ in range(2)]
        assert said == ["2026: the pay of 1 was raised.\n"] * 2
        assert Employee.objects.get().salary == 4200

    def test_another_raise_for_the_same_year_is_refused(self) -> None:
        self.run("2026", "5")
        with pytest.raises(CommandError, match="2026 had another raise"):
            self.run("2026", "50")

    def run(self, *arguments: str) -> str:
        out = StringIO()
        call_command("raise_pay", *arguments, stdout=out)
        return out.getvalue()
