"""The idempotency ledger: Celery delivers a task at least once; here it takes effect once.

    @shared_task(bind=True)
    @idempotent_task(ttl_hours=72)
    def process_payroll(self, employee_id, year, month): ...

One row of PostgreSQL per execution (``models.TaskExecution``), unique on its key while it is live.
A delivery *claims* the row, holds a *run lock* while the body runs, and *completes* the row in the
same transaction as the rows that the body wrote. A dead worker's lock vanishes with its connection,
and the next delivery takes over. A duplicate is answered with the stored result.

Where things are, in the order a delivery meets them:

    decorators     the three decorators          options      their options, checked at import
    call           one call                      protection   a decorated function, found by name
    importing      tasks not met before          exempt       tasks left out, and why
    publishing     messages that are not needed
    delivery       the message it came in        periods      the hour or day pinned in it
    keys           canonical arguments, the key  readable     the arguments, for people
    guarantees/    the protocol, one file each   protocol     what all guarantees decide alike
    store          the SQL, one function a verb  sql/         the functions, and their races
    run_lock       the lock's own connection     recent       a hint that saves a trip
    execution      what a body may ask and do    results      stored and replayed
    steps, outbox  parts done once; follow-ups   early        a warning for follow-ups sent too soon
    written        what an execution wrote       admin/       the pages of the admin
    log, signals   what is told                  lookup       key, status, clearing, releasing
    afterwards     unprotected runs, recorded    sweep, tasks expiry, purge, recovery, relay
    guards         what the database refuses     checks       what manage.py check refuses
    installed      the functions in a database, compared
    evidence/      history sealed, and verified  reporting/   what others read in SQL
    commands/      the verbs of manage.py ledger, one module each
    cache_import/  what a cache decorator completed before
    figures        what is watched, read cheaply alarms       when somebody has to look
    metrics/       the figures for Prometheus
"""

from .decorators import idempotent_daily_task, idempotent_once, idempotent_task
from .exceptions import (
    DuplicateExecution,
    ExecutionHeld,
    ExecutionInProgress,
    ImproperTask,
    LedgerError,
    LedgerUnavailable,
    LostClaim,
    OpenTransaction,
    PayloadMismatch,
    UnstorableResult,
    UnusableArgument,
)
from .execution import current_execution
from .exempt import non_idempotent
from .lookup import check_idempotency_status, clear_idempotency_key, make_idempotency_key, release

__all__ = [
    "DuplicateExecution",
    "ExecutionHeld",
    "ExecutionInProgress",
    "ImproperTask",
    "LedgerError",
    "LedgerUnavailable",
    "LostClaim",
    "OpenTransaction",
    "PayloadMismatch",
    "UnstorableResult",
    "UnusableArgument",
    "check_idempotency_status",
    "clear_idempotency_key",
    "current_execution",
    "idempotent_daily_task",
    "idempotent_once",
    "idempotent_task",
    "make_idempotency_key",
    "non_idempotent",
    "release",
]
