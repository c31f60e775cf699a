from collections.abc import Callable

import pytest
from django.db import connection


@pytest.fixture
def truncate_payslips(transactional_db: None) -> Callable[[], None]:
    """Loses every payslip, past the triggers that would refuse."""

    def truncate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE payroll_payslip CASCADE")

    return truncate
