"""The protocol's model: what it promises holds, and what is broken on purpose is found out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model import checker
from model.configurations import Search, broken, kept

pytestmark = [
    pytest.mark.skipif(
        not (shutil.which("spin") and shutil.which("gcc")), reason="apt-get install spin gcc"
    ),
    pytest.mark.timeout(600),
]

QUICK = ("two crashes", "progress after a hard time limit")
"""The rest takes minutes: ``make model``."""


@pytest.mark.parametrize(
    "search", [s for s in kept() if s.name in QUICK], ids=lambda search: search.slug
)
def test_the_protocol_keeps_its_promises(search: Search, tmp_path: Path) -> None:
    found = checker.run(search, tmp_path)

    assert found.as_expected, found


@pytest.mark.parametrize("search", list(broken()), ids=lambda search: search.slug)
def test_a_protocol_broken_on_purpose_is_found_out(search: Search, tmp_path: Path) -> None:
    found = checker.run(search, tmp_path)

    assert found.as_expected, found
    assert found.replay is not None
    assert found.replay.stat().st_size


def test_a_broken_promise_that_nobody_expected_is_a_surprise(tmp_path: Path) -> None:
    acknowledges_early = {"ACK_EARLY": None, "MESSAGES": 1, "CRASHES": 1}

    found = checker.run(Search("exactly_once", "as it is", acknowledges_early), tmp_path)

    assert found.broken == "nothing_lost"
    assert not found.as_expected


def test_a_promise_that_holds_although_it_should_break_is_a_surprise(tmp_path: Path) -> None:
    nothing_is_broken = Search("exactly_once", "not broken", breaks="effects_commit_once")

    assert not checker.run(nothing_is_broken, tmp_path).as_expected


def test_a_point_that_is_never_reached_is_a_surprise(tmp_path: Path) -> None:
    without_failures = Search(
        "exactly_once", "none fails", {"CRASHES": 1}, frozenset(["failed_and_claimed_again"])
    )

    found = checker.run(without_failures, tmp_path)

    assert found.missed == {"failed_and_claimed_again"}
    assert not found.as_expected


def test_a_model_that_does_not_compile_is_a_surprise(tmp_path: Path) -> None:
    found = checker.run(Search("exactly_once", "nonsense", {"WORKERS": "x y"}), tmp_path)

    assert found.trouble
    assert not found.as_expected


def test_the_command_fails_where_it_has_nothing_to_check() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "model", "--only", "no such search"], capture_output=True, text=True
    )

    assert done.returncode == 1
    assert "No search has 'no such search' in its name." in done.stderr
