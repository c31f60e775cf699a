"""What a run leaves behind when it is killed itself: somebody who notices, and ends the rest.

A process of its own waits for the end of its standard input, which only the run holds open. Then it
kills every process of the run: those that work in its folder, as the servers do, and those that
have inherited its mark, as the workers do. Nobody else's.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

MARK = "CHAOS_FOLDER"


def see_to(folder: Path) -> "subprocess.Popen[bytes]":
    """From now on nothing that this process starts, and nothing in the folder, outlives it, nor
    the closing of the returned process's standard input."""
    os.environ[MARK] = str(folder)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.aftermath", folder],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def survivors(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder) or (
                folder in (place := Path(process.cwd())).parents or place == folder
            ):
                yield process


def main() -> None:
    folder = Path(sys.argv[1])
    sys.stdin.read()
    while found := list(survivors(folder)):
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(found, timeout=5)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
