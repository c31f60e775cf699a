"""``manage.py demo``: a month of payroll, paid once, while messages double and workers die.

Everything in it is real: workers are processes of Celery's, killed by SIGKILL in the middle of a
payslip; the month is the sample company's; the database and the broker are the configured ones.
The same messages then run once more without the ledger, and without the constraint that would
refuse a second payslip in its place, to show what the ledger was good for.

    demo         the whole of it, in order          site       the database, the queue, the folder
    messages     who is told what, how often        run        one run of the month, and its kills
    workers      Celery workers, started and killed trap       a worker caught inside a body
    databases    made anew each time                broker     publishing, and leaving it clean
    checks       what must hold, and its numbers    screen     what is shown
    recompute    the month worked out once more, from the CSV files alone

What runs inside the workers is ``settings``, ``tasks`` and ``worker``. The ``.sql`` files and
``recompute`` share no code with the application, so that they can disagree with it.

The demo keeps to databases of its own, which it names, and to a queue of its own, which it empties
before and after. Whatever ends it, Ctrl-C or SIGKILL, ends its workers too (``worker``).
"""
