"""A chaos run that is killed leaves no process and no file behind."""

import subprocess
import sys

import pytest

from tests.chaos.aftermath import survivors
from tests.workers import ROOT, wait_until


@pytest.mark.timeout(120)
def test_a_killed_run_leaves_nothing_behind() -> None:
    parent = ROOT / ".local" / "chaos"
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", "--minutes", "1", "--broker", "valkey"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    folder = parent / str(run.pid)
    try:
        wait_until(lambda: len(list(folder.glob("workers/*.log"))) == 2, 60, "its workers")
        programs = {process.name() for process in survivors(folder)}
        assert {"postgres", "valkey-server"} <= programs
    finally:
        run.kill()
        run.wait()

    wait_until(lambda: not folder.exists(), what="the end of what it had started")
    assert not list(survivors(folder))
