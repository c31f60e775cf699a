"""The parts of a long execution, each done once, so that a later attempt goes on behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from psycopg.pq import TransactionStatus

from . import readable, results, store
from .exceptions import LedgerError, LostClaim, OpenTransaction, UnusableArgument
from .keys import MAX_STEP_NAME
from .written import apart

if TYPE_CHECKING:
    from .execution import Execution


def run(
    execution: Execution,
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """``Execution.step``. The claim is checked with a shared row lock, for which a take-over waits:
    a step of a lost claim writes nothing."""
    _check(execution, name)
    if execution.id is None:  # unprotected: there is no ledger to ask
        return function(*args, **kwargs)
    finished = done(execution)
    if name in finished:
        return results.load(finished[name])
    connection = connections[execution.database]
    if connection.in_atomic_block:
        raise OpenTransaction(
            f"{execution.key}: step {name!r} commits by itself and cannot run inside atomic()."
        )
    with transaction.atomic(using=execution.database), apart(execution) as wrote:
        guard(execution)
        result = function(*args, **kwargs)
        _insist_on_transaction(execution, name)
        text = results.dump(f"{execution.task_name}, step {name!r},", result)
        store.record_step(connection, execution, name, text, wrote)
    finished[name] = text
    return result


def done(execution: Execution) -> dict[str, str]:
    """Results, as JSON, of the steps done so far by name. Read once in an attempt."""
    if execution._steps is None:
        execution._steps = (
            {}
            if execution.id is None
            else store.steps(connections[execution.database], execution.id)
        )
    return execution._steps


def guard(execution: Execution) -> None:
    """Keep the claim for the open transaction, or ``LostClaim``."""
    if not store.holds_claim(connections[execution.database], execution):
        raise LostClaim(
            f"{execution.key}: another worker took over attempt {execution.attempt}; what this "
            "transaction did was rolled back."
        )


def _insist_on_transaction(execution: Execution, name: str) -> None:
    """Otherwise the step would pass for done, and its effects be lost, or not be its own."""
    connection = connections[execution.database]
    status = connection.connection and connection.connection.pgconn.transaction_status
    if connection.needs_rollback or status != TransactionStatus.INTRANS:
        raise transaction.TransactionManagementError(
            f"{execution.key}: step {name!r} broke its transaction, or ended it. Leave COMMIT "
            "and ROLLBACK to the ledger, and wrap a statement that may fail in atomic()."
        )


def _check(execution: Execution, name: str) -> None:
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= MAX_STEP_NAME
        or readable.text(name) != name
    ):
        raise UnusableArgument(
            f"{execution.key}: step name {name!r:.80} must be text of 1 to {MAX_STEP_NAME} "
            "characters, without NUL and lone surrogates."
        )
    if execution.guarantee == "exactly_once":
        raise LedgerError(
            f"{execution.key}: steps commit one by one, and an exactly_once body commits as one. "
            "Use guarantee='at_least_once' for a job made of steps, or call the function directly."
        )
