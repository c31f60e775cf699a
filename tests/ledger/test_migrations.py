"""An installed ledger gets what ``sql/`` says now, and its views can be taken out again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.db import connection

from ledger.reporting.grants import DETAILS, VIEWS

# Without core, whose migrations ask for those of apps that are left out here.
pytestmark = pytest.mark.django_db(transaction=True, available_apps=["ledger", "tests.testapp"])

VIEWS_THERE = (
    "select array_agg(relname::text) from pg_class where relkind = 'v' and relname ~ '^ledger_'"
)


def migrate(*to: str) -> None:
    call_command("migrate", "ledger", *to, verbosity=0)


@pytest.fixture(autouse=True)
def all_of_it_afterwards(transactional_db: None) -> Iterator[None]:
    yield
    migrate()


def views() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(VIEWS_THERE)
        return set(cursor.fetchone()[0] or ())


def test_functions_and_views_are_replaced() -> None:
    migrate("0006")
    with connection.cursor() as cursor:
        cursor.execute(
            "drop view ledger_open_items; drop function ledger_locked(), ledger_open_figures"
        )
        migrate()
        cursor.execute("select * from ledger_open_items")
        cursor.execute("select * from ledger_open_figures('5 seconds')")


def test_the_views_go_and_come_again() -> None:
    migrate("0005")
    assert views() == set()
    migrate()
    assert views() == {*VIEWS, DETAILS}
