import pytest

from ledger import recent


@pytest.fixture(autouse=True)
def nothing_recent() -> None:
    """What another test's database held is no hint for this one's."""
    recent._completed.clear()
