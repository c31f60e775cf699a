from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reporting.month import november


@pytest.fixture
def month(transactional_db: None) -> Iterator[None]:
    with november():
        yield
