"""Marks of these tests."""

import pytest

WRITTEN_TO = ["ledger", "tests.testapp", "core"]  # core keeps the messages of what failed

commits = pytest.mark.django_db(transaction=True, available_apps=WRITTEN_TO)
"""Commits are real; afterwards the tables of the apps that it may write to are emptied."""

commits_in_both = pytest.mark.django_db(
    transaction=True, available_apps=WRITTEN_TO, databases=["default", "second"]
)
"""The same in two databases."""
