"""A PostgreSQL server that a test may stop, with the project's tables in it.

The suite's own server stays up: others use it. What is in this one is read with plain SQL, since
the test process's Django is connected to the other.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import psycopg

from core.embedded import PostgreSQL
from ledger import make_idempotency_key
from tests.testapp.protected import bound
from tests.workers import ROOT, wait_until


class OwnDatabase:
    """Answers for the task ``bound``, which the tests of outages publish."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.server = PostgreSQL(folder)
        self.server.start()
        self.environment = {"DATABASE_URL": self.server.url, "TEST_DATABASE": self.server.database}
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **self.environment},
            check=True,
        )

    def ask(self, sql: str, *parameters: object) -> list[Any]:
        """All rows; of those with one column, the value alone."""
        with self._connect() as connection:
            rows = connection.execute(sql, parameters).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def effects(self, key: str) -> list[str]:
        return self.ask("select note from testapp_effect where key = %s order by id", key)

    def events(self, key: str) -> list[tuple[str, int]]:
        return self.ask(
            "select kind, v.attempt from ledger_executionevent v"
            " join ledger_taskexecution x on x.id = execution_id where x.key = %s order by v.id",
            make_idempotency_key(bound.name, [key]),
        )

    def end_sessions(self, condition: str) -> list[int]:
        """End the workers' sessions that meet an SQL condition, and return their pids."""
        return self.ask(
            "with met as materialized (select pid from pg_stat_activity"
            f" where datname = current_database() and pid <> pg_backend_pid() and {condition})"
            " select pid from met where pg_terminate_backend(pid)"
        )

    def set(self, name: str, value: str) -> None:
        """Change one of the server's settings."""
        with self._connect() as connection:
            connection.execute(f"alter system set {name} = '{value}'")
            connection.execute("select pg_reload_conf()")
        wait_until(lambda: self.ask(f"show {name}") == [value], what=f"{name} = {value!r}")

    def crash(self) -> None:
        """SIGKILL the server and its sessions at once, as a lost machine would."""
        pid = int((self.server.data / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        everything = [postmaster, *postmaster.children(recursive=True)]
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, left = psutil.wait_procs(everything, timeout=10)
        assert not left

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.server.socket_folder),
            dbname=self.server.database,
            user=self.server.user,
            autocommit=True,
        )
