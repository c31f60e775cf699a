"""Breaks the protocol's key lines one at a time, and sees a test fail for each.

    python -m tests.mutation                 # all of them; the table goes into docs/reliability.md
    python -m tests.mutation --only lock     # those whose name contains that
    python -m tests.mutation --list

It works in a copy of the checkout, with embedded servers of its own, and leaves nothing behind.
Exit status 1 where a mutation survives, or where its lines are no longer in the code.

    mutations    the list: which lines, what they become, and the tests that must not have it
    laboratory   the copy, its servers, and one run of pytest
    report       the table
"""
