"""What the ledger raises. Every message names the key, what happened and what to do next."""

from __future__ import annotations

from django.db import OperationalError


class LedgerError(Exception):
    """Base class of everything the ledger raises on its own account."""


class DuplicateExecution(LedgerError, RuntimeError):
    """Strict mode (``skip_on_duplicate=False``): the execution was already executed.

    ``key`` is the execution's key, ``result`` what the first run returned.
    """

    def __init__(self, key: str, result: object = None) -> None:
        self.key = key
        self.result = result
        super().__init__(
            key, result
        )  # as given: result backends build an exception anew from these

    def __str__(self) -> str:
        return (
            f"{self.key} was already executed and skip_on_duplicate is False. "
            "To let it run again, clear it with clear_idempotency_key() or "
            "'manage.py ledger clear'."
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class ExecutionInProgress(LedgerError):
    """Somebody else is running this execution at this moment."""


class ExecutionHeld(LedgerError):
    """The execution waits for a person's decision and does not run by itself."""


class LostClaim(LedgerError):
    """The claim was no longer ours when the run completed, or a step of it: somebody took over, or
    decided about it. What that transaction did was rolled back; effects outside stand."""


class PayloadMismatch(LedgerError, ValueError):
    """The same key arrived with other arguments than the execution it names."""


class OpenTransaction(LedgerError, RuntimeError):
    """A transaction is open around what has to commit by itself."""


class LedgerUnavailable(LedgerError, OperationalError):
    """The ledger's database cannot be reached, or went away during the run.

    It is a Django ``OperationalError`` too, so that ``autoretry_for=(OperationalError,)`` sees it.
    """


class UnusableArgument(LedgerError, TypeError):
    """An argument, or the set of them, that no stable key can be made of."""


class UnstorableResult(LedgerError, TypeError):
    """A body returned what cannot be stored and replayed. Within ``exactly_once`` and in a step
    nothing was committed; what was done outside of a transaction of the ledger's stands."""


class ImproperTask(LedgerError, TypeError):
    """A decorator option that is wrong, or not available; raised when the module is imported."""
