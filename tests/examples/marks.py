"""Marks of these tests."""

import pytest

commits = pytest.mark.django_db(transaction=True, available_apps=["ledger", "examples"])
"""Commits are real; afterwards the tables of the two apps they go to are emptied."""
