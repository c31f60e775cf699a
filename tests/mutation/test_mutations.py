"""The list of mutations follows the code, whose lines and tests move."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutation import report
from tests.mutation.laboratory import ROOT, Outcome, Stale, check
from tests.mutation.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_its_lines_are_still_there_and_its_tests_too(mutation: Mutation) -> None:
    check(mutation, (ROOT / mutation.file).read_text())
    assert mutation.old != mutation.new
    for test in mutation.tests:
        path, *names = test.split("::")
        source = ROOT / "tests" / path
        assert source.exists(), test
        for name in names:
            assert re.search(rf"^ *(class|def) {name}\b", source.read_text(), re.MULTILINE), test


def test_no_two_have_one_name() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_lines_that_are_gone_or_ambiguous_are_refused_by_name() -> None:
    mutation = Mutation("no lock", "file", "lock()", "", ())
    for text in ("nothing", "lock() and lock()"):
        with pytest.raises(Stale, match=r"no lock: its lines are [02] times in file"):
            check(mutation, text)


def test_the_table_is_put_between_its_marks_and_nothing_else_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "reliability.md"
    monkeypatch.setattr(report, "DOCUMENT", document)
    mutation = Mutation("no lock", "file", "lock()", "", ("test",))
    survived, killed = Outcome(), Outcome(killed_by="a/test_b.py::TestC::test_d")

    report.write({mutation: survived}, 60)
    assert "0 of 1 mutations killed" in document.read_text()
    document.write_text(f"above\n{document.read_text()}below\n")
    report.write({mutation: killed}, 60)

    text = document.read_text()
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "| no lock | `file` | `test_d` |" in text
    assert "nothing" not in text
    assert text.count(report.BEGIN) == text.count(report.END) == 1
