"""docs/reporting.md: its questions asked of a ledger with a known month in it.

``python -m tests.reporting --write`` puts the answers into the document anew; a test compares them.
"""
