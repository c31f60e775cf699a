"""Completions that a cache remembers, recorded as executions: ``manage.py ledger import-cache``.

A cache decorator's key holds a hash, from which no call can be read back. So the calls come from
outside, each is hashed as the old decorator did it, by the project's own function, and what the
cache knows under that key is recorded under the ledger's. Where the cache can list its keys, those
that no call accounts for are told, because the executions behind them would run again.

    caches   what a cache can tell of its keys
    calls    from a call to its old keys, in every spelling, and to the execution it would be
    record   the import, and what came of it
"""
