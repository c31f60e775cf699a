"""Run a bank beside a program, to be killed and started again.

    with BankProcess(folder / "book.jsonl") as bank:
        bank.misbehave({"fault": "drop_after", "probability": 0.1}, seed=7)
        BankClient(bank.url).transfer(...)
        bank.kill()
        bank.start()                        # at the same URL, with the same book
        assert bank.book()["counts"] == {"pay-17": 1}

Rules do not survive the bank. When the block ends, the bank is killed; the book stays.
"""

import re
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import urllib3

ROOT = Path(__file__).resolve().parents[2]


class BankProcess:
    """A bank with its book in a file. Port 0 takes a free one, and keeps it from then on."""

    def __init__(self, book: Path, port: int = 0) -> None:
        self.path = book.resolve()
        self.port = port
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start the bank and return once it listens; one that runs already is left alone.

        Raises:
            RuntimeError: it ended at once, and said why on the standard error.
        """
        if self.process and self.process.poll() is None:
            return self
        command = [sys.executable, "-m", "payroll.bank", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--book", str(self.path)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the program, which then stops its bank
        )
        try:
            self.port = self._listening_port()
        except BaseException:
            self.kill()
            raise
        return self

    def _listening_port(self) -> int:
        assert self.process and self.process.stdout  # noqa: S101, PT018 - just started, with a pipe
        with self.process.stdout as said:
            listens = re.search(r"http://127\.0\.0\.1:(\d+)", said.readline())
        if listens is None:
            raise RuntimeError(f"The bank on {self.path} ended with {self.process.wait()}.")
        return int(listens[1])

    def kill(self) -> None:
        """SIGKILL the bank, whatever it is doing, and wait until it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and wait until it has."""
        if self.process:
            self.process.terminate()
            self.process.wait()

    def book(self, reference: str | None = None) -> dict[str, Any]:
        """What GET /book says, of all bookings or those with the reference."""
        fields = {} if reference is None else {"reference": reference}
        return self._ask("GET", "/book", fields=fields)

    def misbehave(self, *rules: dict[str, Any], seed: int | None = None) -> None:
        """Put these rules of ``faults.py`` in force; without any, the bank behaves again."""
        self._ask("PUT", "/faults", json={"seed": seed, "rules": list(rules)})

    def faults(self) -> dict[str, Any]:
        """The rules in force, and how often each has struck."""
        return self._ask("GET", "/faults")

    def _ask(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        given["headers"] = {"Connection": "close"}  # nothing is kept that a fork would share
        answer = urllib3.request(method, self.url + path, retries=False, **given)
        if answer.status != 200:
            raise ValueError(answer.json()["error"])
        return answer.json()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
