"""What a commit waits for. A claim may be forgotten with the server's power only where its effects,
which commit later in the same database, would be forgotten with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from ledger import idempotent_task
from tests.ledger.marks import commits
from tests.testapp.models import Effect

pytestmark = commits


@pytest.fixture
def watched(transactional_db: None) -> Iterator[None]:
    """Notes, for every claim and completion, how its transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            create function testapp_watch() returns trigger language plpgsql as $$
            begin
                insert into testapp_effect (key, note, at)
                    values (new.state, current_setting('synchronous_commit'), now());
                return null;
            end $$;
            create trigger watched after insert or update on ledger_taskexecution
                for each row execute function testapp_watch()
            """
        )
        yield
        cursor.execute("drop function testapp_watch cascade")


def commit_of(state: str) -> str:
    return Effect.objects.get(key=state).note


@pytest.mark.parametrize("guarantee", ["at_least_once", "at_most_once"])
def test_a_claim_is_durable_before_a_body_with_effects_elsewhere_runs(
    watched: None, guarantee: str
) -> None:
    before: list[str] = []

    @idempotent_task(guarantee=guarantee)
    def task() -> None:
        before.append(commit_of("running"))

    task()
    assert before == ["on"]
    assert commit_of("completed") == "on"


def test_only_the_claim_of_effects_in_the_same_database_need_not_wait(watched: None) -> None:
    @idempotent_task()
    def task() -> None: ...

    task()
    assert commit_of("running") == "off"
    assert commit_of("completed") == "on"
