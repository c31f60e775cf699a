"""One search: SPIN makes a program of the model, gcc compiles it, and it looks at every history."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .configurations import Search

MODEL = Path(__file__).parent / "ledger.pml"
MEMORY_MB = 2500
"""For one search; two run at a time."""
DEPTH = 200_000


@dataclass(frozen=True)
class Found:
    search: Search
    states: int
    depth: int
    seconds: float
    megabytes: float
    broken: str | None
    """The promise that was found broken."""
    missed: frozenset[str]
    """Points it should have come by and did not."""
    trouble: str | None
    """Why the search says nothing: it was not exhaustive, or did not run."""
    replay: Path | None
    """The counter-example, step by step."""

    @property
    def as_expected(self) -> bool:
        return not self.trouble and not self.missed and self.broken == self.search.breaks


def run(search: Search, directory: Path) -> Found:
    """Search all histories, in ``directory``, which keeps the trail and its replay."""
    directory.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    output = _compiled(search, directory) or _searched(search, directory)
    seconds = time.monotonic() - began

    broken, replay = None, None
    if list(directory.glob("*.trail")):
        replay = _replay(search, directory)
        broken = _name_of_broken(search, replay)
    reached = set(re.findall(r"^REACHED: (\w+)", output, re.MULTILINE))
    return Found(
        search=search,
        states=int(_number(r"(\d+) states, stored", output)),
        depth=int(_number(r"depth reached (\d+)", output)),
        seconds=seconds,
        megabytes=_number(r"([\d.]+)\s+total actual memory", output),
        broken=broken,
        missed=search.reaches - reached,
        trouble=_trouble(output, broken),
        replay=replay,
    )


def _compiled(search: Search, directory: Path) -> str:
    """What went wrong, or nothing."""
    if search.is_about_progress:
        kind = ["-DNFAIR=3"]
    elif search.breaks:
        kind = ["-DSAFETY", "-DBFS"]  # breadth first: the shortest counter-example
    else:
        kind = ["-DSAFETY"]
    speed = "-O2" if search.deep else "-O0"  # optimising takes longer than it saves
    gcc = ["gcc", "-w", speed, "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MB}", *kind]
    if search.reaches:
        gcc += ["-include", str(MODEL.parent / "cover.h")]
    for command in (
        ["spin", "-a", *search.definitions, str(MODEL)],
        [*gcc, "-o", "pan", "pan.c"],
    ):
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if done.returncode:
            return f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return ""


def _searched(search: Search, directory: Path) -> str:
    options = ["-a", "-f"] if search.is_about_progress else []
    done = subprocess.run(
        ["./pan", f"-m{DEPTH}", "-w26" if search.deep else "-w22", *options],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    (directory / "output.txt").write_text(done.stdout + done.stderr)
    for made in [*directory.glob("pan*"), *directory.glob("_spin*")]:
        made.unlink()
    return done.stdout + done.stderr


def _replay(search: Search, directory: Path) -> Path:
    """The trail as text: what happened in story.txt, and every step, by line, in replay.txt."""
    trail = next(directory.glob("*.trail")).name
    for name, options in (("story.txt", ["-T"]), ("replay.txt", ["-p"])):
        command = ["spin", "-t", *options, "-k", trail, *search.definitions, str(MODEL)]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        text = done.stdout.replace(f"{MODEL.parent}/", "")
        if name == "story.txt":
            text = text.partition("spin: ")[0]
        (directory / name).write_text(text)
    return directory / "replay.txt"


def _name_of_broken(search: Search, replay: Path) -> str:
    text = replay.read_text()
    named = re.search(r"BROKEN: (\w+)", text)
    if named:
        return named[1]
    return "settles" if "START OF CYCLE" in text else "deadlock"


def _trouble(output: str, broken: str | None) -> str | None:
    if "State-vector" not in output:
        return f"it did not run: {output.strip()[-500:]}"
    if int(_number(r"depth reached (\d+)", output)) >= DEPTH - 1:
        return f"it was not exhaustive: deeper than {DEPTH} steps"
    if "Search not completed" in output and not broken:
        return "it was not exhaustive: out of memory"
    return None


def _number(pattern: str, output: str) -> float:
    match = re.search(pattern, output)
    return float(match[1]) if match else 0
