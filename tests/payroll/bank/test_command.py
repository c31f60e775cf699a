"""``python -m payroll.bank``."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from payroll.bank.process import ROOT, BankProcess


def bank_command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "payroll.bank", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def process_of(bank: BankProcess) -> psutil.Process:
    assert bank.process
    return psutil.Process(bank.process.pid)


def test_it_listens_to_this_machine_alone(bank: BankProcess) -> None:
    listening = [
        connection.laddr
        for connection in process_of(bank).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", bank.port)]


def test_it_comes_back_at_the_same_address(bank: BankProcess) -> None:
    url, first = bank.url, process_of(bank)
    bank.kill()
    bank.start()
    assert bank.url == url
    assert process_of(bank) != first
    assert bank.book()["total"] == 0


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_quietly_when_asked(bank: BankProcess, asked: int) -> None:
    assert bank.process
    bank.process.send_signal(asked)
    assert bank.process.wait(10) == 0


def test_a_taken_port_is_named(bank: BankProcess, tmp_path: Path) -> None:
    ended = bank_command("--port", str(bank.port), "--book", tmp_path / "another.jsonl")
    assert ended.returncode == 1
    assert f"Port {bank.port} cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["-1", "70000"])
def test_an_impossible_port_is_named(tmp_path: Path, port: str) -> None:
    ended = bank_command("--port", port, "--book", tmp_path / "book.jsonl")
    assert ended.returncode == 1
    assert f"Port {port} cannot be used" in ended.stderr


def test_what_it_needs_is_asked_for() -> None:
    assert "--port, --book" in bank_command().stderr


def test_a_bank_that_does_not_start_is_an_error(bank: BankProcess) -> None:
    with pytest.raises(RuntimeError, match="ended with 1"):
        BankProcess(bank.path).start()
