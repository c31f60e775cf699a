"""A strict task's refusal of a duplicate is not tried again."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from ledger import DuplicateExecution, idempotent_task
from tests.ledger.checks.conftest import Told


@pytest.mark.parametrize(
    ("options", "strict", "warned"),
    [
        ({"autoretry_for": (RuntimeError,)}, True, True),
        ({"autoretry_for": (OSError, Exception)}, True, True),
        ({"autoretry_for": [Exception]}, True, True),
        ({"autoretry_for": (OSError,)}, True, False),
        ({"autoretry_for": (Exception,)}, False, False),
        ({}, True, False),
        (
            {"autoretry_for": (Exception,), "dont_autoretry_for": (DuplicateExecution,)},
            True,
            False,
        ),
    ],
)
def test_autoretry_for_must_leave_it_out(
    app: Celery, told: Told, options: dict[str, Any], strict: bool, warned: bool
) -> None:
    @app.task(**options)
    @idempotent_task(skip_on_duplicate=not strict)
    def pay() -> None: ...

    found = told("W003", pay)
    assert bool(found) == warned
    if warned:
        assert "dont_autoretry_for=(DuplicateExecution,)" in str(found[0].hint)
