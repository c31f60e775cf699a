"""A long job for many employees as the steps of one execution, and how far it is."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet

from ledger import LedgerError, LostClaim, current_execution
from ledger.models import ExecutionStep
from payroll.errors import PayrollError, PayrollIncomplete

logger = logging.getLogger(__name__)

OF_THE_WHOLE_RUN = (LostClaim, OperationalError, InterfaceError, SoftTimeLimitExceeded)
"""What is no single employee's failure: the next delivery goes on behind what is done."""


def run_steps(
    function: Callable[[int], dict[str, Any]], employee_ids: Sequence[int]
) -> dict[int, dict[str, Any]]:
    """Call the function for each employee as a step, and return what it returned.

    One that fails does not keep the next from their turn. Raises PayrollIncomplete in the end if
    it failed for any of them.
    """
    execution = current_execution()
    results: dict[int, dict[str, Any]] = {}
    failures: dict[int, str] = {}
    for employee_id in dict.fromkeys(employee_ids):
        try:
            results[employee_id] = execution.step(step_name(employee_id), function, employee_id)
        except OF_THE_WHOLE_RUN:
            raise
        except (PayrollError, LedgerError) as error:
            failures[employee_id] = str(error)
        except Exception as error:
            logger.exception("employee %s failed", employee_id)
            failures[employee_id] = f"{type(error).__name__}: {error}"
    if failures:
        raise PayrollIncomplete(failures, len(results) + len(failures))
    return results


def step_name(employee_id: int) -> str:
    return f"employee {employee_id}"


def steps_done(key: str) -> QuerySet[ExecutionStep]:
    """The steps that the live execution of this key has done, in all its attempts."""
    return ExecutionStep.objects.filter(execution__key=key, execution__retired_at=None)
