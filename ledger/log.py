"""What happened, told once: to the ``ledger`` logger and to the signals' receivers.

Every record carries ``ledger_key``, ``ledger_task``, ``ledger_attempt``, ``ledger_task_id`` and
``ledger_outcome`` as ``extra`` fields.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from . import readable, signals

if TYPE_CHECKING:
    from django.dispatch import Signal

    from .call import Call

logger = logging.getLogger("ledger")


def started(call: Call, attempt: int) -> None:
    _tell(logging.INFO, "claimed", call, attempt, "%s: attempt %d claimed", call.key, attempt)
    _send(signals.execution_started, call, attempt)


def completed(call: Call, attempt: int) -> None:
    _tell(logging.DEBUG, "completed", call, attempt, "%s: attempt %d completed", call.key, attempt)
    _send(signals.execution_completed, call, attempt)


def skipped(call: Call) -> None:
    _tell(logging.INFO, "skipped", call, None, "%s: already executed, skipped", call.key)
    _send(signals.execution_skipped, call, None)


def failed(call: Call, attempt: int, error: BaseException) -> None:
    _tell(
        logging.WARNING, "failed", call, attempt,
        "%s: attempt %d failed: %s", call.key, attempt, readable.error(error, call.without_secrets),
    )  # fmt: skip
    _send(signals.execution_failed, call, attempt)


def taken_over(call: Call, attempt: int) -> None:
    _tell(
        logging.WARNING, "taken_over", call, attempt,
        "%s: its worker is gone, taken over as attempt %d", call.key, attempt,
    )  # fmt: skip
    _send(signals.execution_taken_over, call, attempt)


def held(call: Call) -> None:
    _tell(logging.ERROR, "held", call, None, "%s: held for a person's decision", call.key)


def in_progress(call: Call) -> None:
    _tell(logging.INFO, "in_progress", call, None, "%s: in progress elsewhere", call.key)


def lost_claim(call: Call, attempt: int) -> None:
    _tell(
        logging.ERROR, "lost_claim", call, attempt,
        "%s: attempt %d lost its claim to somebody else", call.key, attempt,
    )  # fmt: skip


def unreachable(call: Call, error: BaseException) -> None:
    _tell(
        logging.ERROR, "unreachable", call, None,
        "%s: the ledger's database cannot be reached: %s", call.key, error,
    )  # fmt: skip


def unprotected(call: Call, error: BaseException) -> None:
    _tell(
        logging.CRITICAL, "unprotected", call, None,
        "%s: RUNS UNPROTECTED, a duplicate would not be noticed (on_ledger_error='run'): %s",
        call.key, error,
    )  # fmt: skip


def unrecorded(call: Call, attempt: int, error: BaseException) -> None:
    _tell(
        logging.ERROR, "unrecorded", call, attempt,
        "%s: the failure of attempt %d could not be recorded: %s", call.key, attempt, error,
    )  # fmt: skip


def _tell(
    level: int, outcome: str, call: Call, attempt: int | None, text: str, *args: object
) -> None:
    if logger.isEnabledFor(level):
        extra = {
            "ledger_key": call.key,
            "ledger_task": call.delivery.task_name,
            "ledger_attempt": attempt,
            "ledger_task_id": call.delivery.task_id,
            "ledger_outcome": outcome,
        }
        logger.log(level, text, *args, extra=extra)


def _send(signal: Signal, call: Call, attempt: int | None) -> None:
    if signal.receivers:
        signal.send_robust(sender=call.protected.function, call=call, attempt=attempt)
