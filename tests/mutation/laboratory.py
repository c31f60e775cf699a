"""A copy of the checkout in which code may be broken."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.mutations import Mutation

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".local", ".venv*", ".env", ".hypothesis", ".*_cache", "__pycache__", "build", "dist"
)
SERVERS = ("DATABASE_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CACHE_URL")
"""Variables that would lead out of the copy."""

SECONDS = 300
"""More than any of these tests takes; whatever takes longer hangs."""


class Stale(Exception):
    """A mutation's lines are not in the code, or more than once."""


@dataclass(frozen=True)
class Outcome:
    """``killed_by``: the test that failed, and its ``reason``. ``trouble``: why the run proves
    nothing."""

    killed_by: str = ""
    reason: str = ""
    trouble: str = ""


class Laboratory:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Laboratory]:
        with tempfile.TemporaryDirectory(prefix="ledger-mutation-") as temporary:
            folder = Path(temporary) / "checkout"
            shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
            laboratory = cls(folder)
            try:
                yield laboratory
            finally:
                laboratory._python("-m", "core.embedded")

    def try_out(self, mutation: Mutation) -> Outcome:
        """Break the copy, run the tests that must notice, and mend it."""
        with self._broken(mutation):
            return self.run(mutation.tests)

    def run(self, tests: Sequence[str]) -> Outcome:
        """Run tests until one fails."""
        try:
            pytest = self._python(
                "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", "--timeout", "60",
                *(f"tests/{test}" for test in tests),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(killed_by=tests[0], reason="it hangs")
        failed = re.search(r"^FAILED tests/(.+?)(?: - (.*))?$", pytest.stdout, re.MULTILINE)
        if pytest.returncode == 0:
            return Outcome()
        if failed is None:
            return Outcome(trouble=(pytest.stdout + pytest.stderr).strip()[-2000:])
        return Outcome(killed_by=failed.group(1), reason=failed.group(2) or "")

    @contextmanager
    def _broken(self, mutation: Mutation) -> Iterator[None]:
        path = self.folder / mutation.file
        whole = path.read_text()
        check(mutation, whole)
        path.write_text(whole.replace(mutation.old, mutation.new))
        try:
            yield
        finally:
            path.write_text(whole)

    def _python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in SERVERS}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "300"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )


def check(mutation: Mutation, text: str) -> None:
    """``Stale`` unless the mutation's lines are there, once."""
    found = text.count(mutation.old)
    if found != 1:
        raise Stale(
            f"{mutation.name}: its lines are {found} times in {mutation.file}. Write them in "
            f"tests/mutation/mutations.py as they are now:\n{mutation.old}"
        )
