"""Who may read the metrics."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import Settings

from tests.ledger.metrics.conftest import TOKEN

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "authorization", ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", "Bearer wröng"]
)
def test_nobody_reads_it_without_the_token(
    client: Client, settings: Settings, authorization: str
) -> None:
    settings.LEDGER = {"METRICS_TOKEN": TOKEN}
    answer = client.get("/metrics", headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert b"ledger_" not in answer.content


def test_no_token_is_no_empty_token(client: Client, settings: Settings) -> None:
    settings.LEDGER = {}
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401


def test_who_may_view_executions_may_read_it(client: Client, admin_client: Client) -> None:
    assert client.get("/metrics").status_code == 401
    assert b"ledger_up 1" in admin_client.get("/metrics").content


def test_nothing_is_changed_by_asking(admin_client: Client) -> None:
    assert admin_client.post("/metrics").status_code == 405
