"""What the README tells somebody who is new, taken out of it."""

import re
import shlex
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks(heading: str) -> list[str]:
    """The indented blocks between that heading, or the title where empty, and the next."""
    sections = re.split(r"(?m)^#+ (.*)\n", README.read_text())
    named = dict(zip(["", *sections[3::2]], sections[2::2], strict=True))
    found = re.findall(r"(?m)(?:^(?: {4}.*)?\n)+", named[heading])
    return [re.sub(r"(?m)^ {4}", "", block).strip("\n") for block in found if block.strip()]


def requirements() -> list[str]:
    """What ``pip install`` is told to install beside the checkout itself."""
    command = shlex.split(blocks("In your own project")[0].splitlines()[0], comments=True)
    assert command[:3] == ["pip", "install", "."], command
    return command[3:]


def settings() -> str:
    [_, *lines] = blocks("In your own project")[0].splitlines()
    return "\n".join(lines).strip()


def task() -> str:
    """The module with the decorated task."""
    return _example()[0]


def calls() -> list[str]:
    """How it is called, an expression each."""
    return [line.partition("#")[0].strip() for line in _example()[1].splitlines()]


def _example() -> tuple[str, str]:
    [example] = [block for block in blocks("") if "@idempotent_task" in block]
    module, calls = re.split(r"\n\n(?=\w+\.delay)", example)
    return module, calls
