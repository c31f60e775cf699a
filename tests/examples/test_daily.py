import datetime as dt

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from examples.daily import delete_expired_sessions
from ledger import periods
from ledger.models import TaskExecution
from ledger.testing import assert_runs_once

pytestmark = pytest.mark.django_db


def session(name: str, **age: float) -> None:
    Session.objects.create(
        session_key=name, session_data="", expire_date=timezone.now() - dt.timedelta(**age)
    )


def test_todays_second_delivery_deletes_nothing_and_returns_what_the_first_did() -> None:
    session("old", days=8)
    session("alive", days=-8)
    assert assert_runs_once(delete_expired_sessions, effects=Session.objects.count) == {
        "deleted": 1
    }
    session("just expired", seconds=1)
    assert delete_expired_sessions() == {"deleted": 1}
    assert set(Session.objects.values_list("pk", flat=True)) == {"alive", "just expired"}


def test_tomorrow_it_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert delete_expired_sessions() == {"deleted": 0}
    session("old", days=8)
    tomorrow = periods.now() + dt.timedelta(days=1)
    monkeypatch.setattr(periods, "now", lambda: tomorrow)
    assert delete_expired_sessions() == {"deleted": 1}
    assert TaskExecution.objects.filter(period=tomorrow.date()).count() == 1
