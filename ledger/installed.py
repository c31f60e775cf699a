"""The functions in a database, held against this release's ``sql/*.sql``."""

from __future__ import annotations

import re
from pathlib import Path

from django.db.backends.utils import CursorWrapper

SQL = Path(__file__).parent / "sql"
_FUNCTION = re.compile(r"create or replace function (\w+)\(.*?\$\$(.*?)\$\$", re.DOTALL)


def differing(cursor: CursorWrapper, files: str = "*.sql") -> dict[str, Path]:
    """The functions that are missing or whose body is another, each with the file it is from."""
    ours = {
        name: (body, path)
        for path in sorted(SQL.glob(files))
        for name, body in _FUNCTION.findall(path.read_text())
    }
    cursor.execute(
        "select name, (select prosrc from pg_proc where oid = to_regproc(name)) "
        "from unnest(%s::text[]) name",
        [list(ours)],
    )
    theirs = dict(cursor.fetchall())
    return {name: path for name, (body, path) in ours.items() if theirs[name] != body}
