"""docs/reporting.md answers fifteen questions, and the answers are the ledger's."""

from __future__ import annotations

import re

import pytest

from tests.ledger.marks import commits
from tests.reporting.document import DOCUMENT, answer_to, questions

pytestmark = commits

TEXT = DOCUMENT.read_text()
ASKED = questions(TEXT)
TITLES = re.findall(r"^### \d+\. (.*)$", TEXT, re.MULTILINE)


def test_it_asks_fifteen() -> None:
    assert len(ASKED) == len(TITLES) == 15
    assert re.findall(r"^### (\d+)\.", TEXT, re.MULTILINE) == [str(n) for n in range(1, 16)]


@pytest.mark.usefixtures("month")
def test_every_answer_is_the_ledgers_and_says_something() -> None:
    """``python -m tests.reporting --write`` puts them there."""
    for title, (sql, answer) in zip(TITLES, ASKED, strict=True):
        assert answer_to(sql) == answer, title
        assert len(answer.splitlines()) > 2, f"{title}: nothing"
