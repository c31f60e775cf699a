"""Where the body of a real worker's task waits for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.testapp.faults import Fault
from tests.workers import wait_until


class Barrier:
    """``Barrier(tmp_path).fault()`` goes into the message's header ``faults``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "barrier"
        self.folder.mkdir()

    def fault(self, at: str = "body", **fault: Any) -> Fault:
        return {"at": at, "do": "wait", "gate": str(self.folder), **fault}

    def wait_until_reached(self) -> None:
        wait_until(lambda: any(self.folder.iterdir()), what=f"a body at {self.folder}")

    def open(self) -> None:
        (self.folder / "open").touch()
