"""What the README promises of payments is what a run with real banks and real kills finds."""

from pathlib import Path

import pytest

from ledger.testing.worker import Workers
from payroll.bank_guarantees import documents, table
from payroll.bank_guarantees.tasks import Way
from payroll.bank_guarantees.trial import run
from payroll.management.commands.bank_guarantees import GUIDE, README

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_the_tables_of_the_documents_are_what_a_fresh_run_finds(
    ledger_worker: Workers, tmp_path: Path
) -> None:
    verdicts = {fault.name: outcome for fault, outcome in run(ledger_worker, tmp_path)}

    assert table.by_fault(verdicts) == documents.find(GUIDE, "bank-faults")
    assert table.by_way(verdicts) == documents.find(README, "bank-table")
    everything = {verdict for outcome in verdicts.values() for verdict in outcome.values()}
    assert everything == {"once", "twice", "held"}
    assert {outcome[Way(True, "at_least_once")] for outcome in verdicts.values()} == {"once"}


def test_a_document_without_a_place_for_the_table_is_left_as_it_is(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("<!-- bank-table -->\nno end\n")

    with pytest.raises(ValueError, match=r"no place for the table: write <!-- bank-table -->"):
        documents.put(document, "bank-table", "| a |\n")
    assert document.read_text() == "<!-- bank-table -->\nno end\n"


def test_a_table_is_put_in_the_place_of_the_one_before(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- t -->\n<!-- /t -->\nafter\n")

    for cell in ("| old |\n", r"| \1 new |" + "\n"):
        documents.put(document, "t", cell)
        assert documents.find(document, "t") == cell
    assert document.read_text().startswith("before\n<!-- t -->\n| ")
    assert document.read_text().endswith("<!-- /t -->\nafter\n")
