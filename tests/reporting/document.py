"""The document: each question's SQL, and the answer behind it."""

from __future__ import annotations

import io
import re
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from ledger.reporting.formats import table
from tests.reporting.month import ZONE, another_session

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "reporting.md"
_ASKED = re.compile(r"(```sql\n(.*?)```\n\n```text\n)(.*?)(```\n)", re.DOTALL)


def questions(text: str) -> list[tuple[str, str]]:
    """SQL and the answer as it stands, of every question."""
    return [(sql, answer) for _, sql, answer, _ in _ASKED.findall(text)]


def with_answers(text: str) -> str:
    """The document with each answer as the ledger gives it now."""
    return _ASKED.sub(lambda found: f"{found[1]}{answer_to(found[2])}{found[4]}", text)


def answer_to(sql: str) -> str:
    """As somebody with psql gets it, in a session of their own."""
    out = io.StringIO()
    with timezone.override(ZONE), another_session() as session:
        session.execute("select set_config('TimeZone', %s, false)", [ZONE])
        cursor = session.execute(sql.encode())
        table([column.name for column in cursor.description or ()], cursor.fetchall(), out)
    return out.getvalue()
