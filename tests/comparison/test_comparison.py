"""What docs/comparison.md says of each guard is what a run with real workers finds."""

from pathlib import Path

import pytest

from ledger.testing.worker import workers
from tests.comparison import table
from tests.comparison.trials import run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]


def test_the_table_of_the_document_is_what_a_fresh_run_finds(tmp_path: Path) -> None:
    with workers("tests.comparison.app:app", tmp_path) as start:
        verdicts = run(start, tmp_path)
    assert {verdicts[trial]["the ledger"] for trial in verdicts} == {"once"}
    assert table.markdown(verdicts) == table.written()
