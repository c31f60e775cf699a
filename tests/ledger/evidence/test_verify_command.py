"""``manage.py ledger verify``, and the head that an auditor keeps."""

from __future__ import annotations

import re

import pytest

from ledger.models import State, TaskExecution
from tests.ledger.conftest import Clock
from tests.ledger.evidence.conftest import Tamper
from tests.ledger.marks import commits
from tests.ledger.test_command import ledger, refused

pytestmark = [commits, pytest.mark.usefixtures("history")]


def test_it_says_what_it_verified_and_the_head() -> None:
    ledger("sweep")
    printed = ledger("verify")
    assert "3 seals over 7 rows, 1 left open: nothing was altered, removed or inserted." in printed
    head = ledger("verify", "--head").strip()
    assert re.fullmatch(r"3:[0-9a-f]{64}", head)
    assert f"Head: {head}" in printed
    assert "nothing was altered" in ledger("verify", "--since-head", head)


def test_it_says_how_soon_what_is_gone_was_purged(clock: Clock) -> None:
    ledger("sweep")
    clock.forward(hours=25)
    ledger("sweep")
    clock.forward(days=500)
    ledger("sweep")
    assert "5 executions were purged, none earlier than 500 days after" in ledger("verify")


def test_it_fails_and_names_the_first_row(tamper: Tamper) -> None:
    ledger("sweep")
    ids = TaskExecution.objects.filter(state=State.COMPLETED).values_list("id", flat=True)
    tamper("update ledger_taskexecution set result = '{\"paid\": 8}' where state = 'completed'")
    told = refused("verify")
    assert f"The first of 4:\n  execution {min(ids)} was altered; see seal 1 (" in told


def test_many_faults_are_counted_not_listed(tamper: Tamper) -> None:
    ledger("sweep")
    tamper("insert into ledger_unsealedexecution select generate_series(1000001, 1000030)")
    told = refused("verify")
    assert "The first of 30:" in told
    assert told.endswith("and 10 more")


def test_without_a_seal_it_says_what_to_do() -> None:
    assert "Head: none yet" in ledger("verify")
    assert "run 'manage.py ledger sweep'" in refused("verify", "--head")


@pytest.mark.parametrize("kept", ["", "7", "7:abc", "x:" + "00" * 32, "0:" + "00" * 32])
def test_what_is_no_head_is_refused(kept: str) -> None:
    assert "is not the head of a chain" in refused("verify", "--since-head", kept)


def test_a_head_of_another_chain_is_refused() -> None:
    ledger("sweep")
    told = refused("verify", "--since-head", "1:" + "00" * 32)
    assert "is not in the chain" in told
