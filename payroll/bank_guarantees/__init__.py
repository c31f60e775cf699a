"""What becomes of a payment: both of the bank's endpoints, both guarantees, and all that can fail.

    python manage.py bank_guarantees [--write]

Everything in it is real: banks are processes of payroll.bank that misbehave or are killed, workers
are processes of Celery's that are killed by SIGKILL, and whether money moved is read from the
banks' own books.

    tasks    the four ways to pay, as tasks: payroll.paying with each guarantee and each endpoint
    faults   what goes wrong, one function each where the bank cannot do it by itself
    trial    one payment for each way and one fault, up to what a person decides where one is held
    table    what came of it, for README.md and docs/payments.md; documents: where it stands there
"""
