"""Celery workers as real processes: started, killed, and stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from .errors import DemoError

START_SECONDS = 60
STOP_SECONDS = 30


class Worker:
    """A main process and its pool, in a process group of their own.

    They live as long as somebody holds the other end of their standard input: see ``worker.py``.
    """

    def __init__(
        self, name: str, processes: int, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        command = [sys.executable, "-m", "celery", "--app", "core", "worker"]
        command += ["--hostname", f"{name}@%h", "--concurrency", str(processes)]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def owns(self, process: int) -> bool:
        try:
            return os.getpgid(process) == self.pid
        except ProcessLookupError:
            return False

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while b" ready." not in self.log.read_bytes():
            self.must_live()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{self.name} was not ready within {START_SECONDS} s. Read {self.log}."
                )
            time.sleep(0.05)

    def must_live(self) -> None:
        """Raises DemoError if the worker has ended by itself."""
        if self._process.poll() is not None:
            raise DemoError(
                f"{self.name} ended by itself with status {self._process.returncode}."
                f" Read {self.log}."
            )

    def kill(self) -> None:
        """SIGKILL the main process and its pool at once, and see the main process dead."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ask for a warm shutdown, in which what runs is finished, and wait for it."""
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            raise DemoError(
                f"{self.name} did not stop cleanly within {STOP_SECONDS} s"
                f" (status {status}). Read {self.log}."
            )


def kill_process(process: int) -> None:
    """SIGKILL one process of a pool, and wait until its worker has buried it."""
    os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise DemoError(f"Process {process} did not die of SIGKILL within {STOP_SECONDS} s.")
