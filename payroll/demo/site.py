"""Where a demo works: its databases, its queue, its folder."""

import hashlib
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from core.embedded import LOCAL

YEAR, MONTH = 2025, 10
"""The month that is paid. Everybody in the sample company is employed in it."""


@dataclass(frozen=True)
class Site:
    database: str

    @property
    def control(self) -> str:
        return f"{self.database}_control"

    @property
    def queue(self) -> str:
        """The same whenever this database's demo runs here, so that the next one finds what a
        killed one left; another for every other database and machine."""
        server = settings.DATABASES["default"]
        where = [socket.gethostname(), server["HOST"], server.get("OPTIONS", {}).get("host")]
        digest = hashlib.sha256(repr([*where, server["PORT"], self.database]).encode())
        return f"demo-{digest.hexdigest()[:12]}"

    @property
    def folder(self) -> Path:
        return LOCAL / "demo" / self.database

    def logs(self, database: str) -> Path:
        return self.folder / ("control" if database == self.control else "ledger")

    def prepare(self) -> None:
        """Empty folders; and the variables that ``payroll.demo.settings`` reads."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for database in (self.database, self.control):
            self.logs(database).mkdir(parents=True)
        os.environ.update(self.environment(self.database))

    def environment(self, database: str) -> dict[str, str]:
        """What makes a process of this project one of the demo's."""
        return {
            "DJANGO_SETTINGS_MODULE": "payroll.demo.settings",
            "DEMO_DATABASE": database,
            "DEMO_QUEUE": self.queue,
            "LOG_LEVEL": "INFO",  # a worker is ready when it says so
        }
