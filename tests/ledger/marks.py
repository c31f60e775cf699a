"""Marks of these tests."""

import pytest

commits = pytest.mark.django_db(transaction=True, available_apps=["ledger", "tests.testapp"])
"""Commits are real; afterwards the tables of the two apps it may write to are emptied."""

commits_in_both = pytest.mark.django_db(
    transaction=True,
    available_apps=["ledger", "tests.testapp"],
    databases=["default", "second"],
)
"""The same in two databases."""
