from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection


@pytest.fixture
def second_session(transactional_db: None) -> Iterator[Callable[[str, tuple[Any, ...]], bool]]:
    """Runs a query on another connection and says whether it found a row."""
    connection.ensure_connection()
    info = connection.connection.info
    other = psycopg.connect(info.dsn, password=info.password, autocommit=True)

    def found(query: str, parameters: tuple[Any, ...] = ()) -> bool:
        return other.execute(query, parameters).fetchone() is not None

    try:
        yield found
    finally:
        other.close()
