"""Bring a virtual environment up to a requirements file.

Usage: python3 deploy/environment.py FOLDER REQUIREMENTS [--newest NAME]

At once where nothing has changed, and safe however many ask at the same time. ``--newest NAME``
leaves that package's pin out and installs its newest release. Standard library only.
"""

import argparse
import contextlib
import fcntl
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

OLDEST_PYTHON = (3, 11)


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("Usage: ")[1].splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--newest", metavar="NAME")
    chosen = parser.parse_args()
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(
            f"Python {sys.version.split()[0]} is too old: this project needs 3.11 or newer. "
            "Name one, as in `make PYTHON=python3.12 …`."
        )
    with only_one(chosen.folder):
        set_up(chosen.folder, chosen.requirements, chosen.newest)


def set_up(folder: Path, requirements: Path, newest: str | None) -> None:
    wanted = requirements.read_text()
    if newest:
        wanted = re.sub(rf"(?im)^{re.escape(newest)}==.*$", newest, wanted)
    record = folder / "installed.txt"
    if works(folder):
        installed = pins(record.read_text()) if record.exists() else {}
        if pins(wanted).items() <= installed.items():
            return
    else:
        print(f"Creating the virtual environment {folder}…", flush=True)
        command = [sys.executable, "-m", "venv", "--clear", os.fspath(folder)]
        if subprocess.run(command, check=False).returncode:
            sys.exit("Debian and Ubuntu ship venv apart: apt-get install python3-venv.")
        installed = {}
    print(f"Installing {requirements} into {folder}…", flush=True)
    record.unlink(missing_ok=True)  # until it is whole again, nothing is known to be installed
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(wanted)
        file.flush()
        install(interpreter(folder), file.name, packages=len(pins(wanted)))
    record.write_text("".join(f"{pin}\n" for pin in (installed | pins(wanted)).values()))


def pins(requirements: str) -> dict[str, str]:
    """The lines of a requirements file that name a package, by its name."""
    return {
        re.split(r"[^\w.-]", line)[0]: line
        for line in requirements.splitlines()
        if re.match(r"\w", line)
    }


def install(python: str, requirements: str, packages: int) -> None:
    """Run pip, and show of all that it says how far it is, or everything if it fails."""
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "-r", requirements]
    said, seen = [], 0
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        for line in pip.stdout or ():
            said.append(line)
            if line.startswith(("Collecting ", "Processing ", "Requirement already", "Ignoring ")):
                seen += 1
                progress(f"  {min(seen, packages)} of {packages} packages", seen % 20 == 0)
            elif line.startswith("Installing collected"):
                progress("  unpacking them…", True)
    progress("", False)
    if pip.returncode:
        sys.exit("".join(said) + "The packages could not be installed: the reason stands above.")


def progress(line: str, milestone: bool) -> None:
    """On a terminal one line that moves; elsewhere a line now and then."""
    if sys.stdout.isatty():
        print(f"\r{line}\033[K", end="", flush=True)
    elif milestone:
        print(line, flush=True)


def interpreter(folder: Path) -> str:
    return os.fspath(folder / "bin" / "python")


def works(folder: Path) -> bool:
    """Whether the environment is whole and made by this very version of Python."""
    try:
        asked = subprocess.run(
            [interpreter(folder), "-c", "import pip, sys; print(sys.version)"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return False
    return asked.returncode == 0 and asked.stdout.strip() == sys.version.strip()


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    with open(f"{folder}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another command is setting up {folder}: waiting for it…", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped. The next command goes on from here.")
