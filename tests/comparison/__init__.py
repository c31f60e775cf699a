"""What each guard against running twice guards against: the ledger, others, and none.

    python -m tests.comparison [--write]

Everything in it is real: a Valkey, Celery's workers, SIGKILL, a row of PostgreSQL as the work.

    app      a Celery application on the embedded Valkey, whatever broker the tests use
    guards   the same work behind each guard, as its makers or a careful team would write it
    trials   what happens to a message, one trial each, for all guards at once
    table    what came of it, for docs/comparison.md
"""
