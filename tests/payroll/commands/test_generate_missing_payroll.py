import re
import shlex
from collections.abc import Callable

import pytest

from ledger import clear_idempotency_key
from payroll.services import post_payslip
from payroll.tasks import process_payroll
from tests.payroll.company import OCTOBER, Books, books, employee_with_week
from tests.payroll.manage import Manage

pytestmark = pytest.mark.django_db(transaction=True)

COMMAND = ("generate_missing_payroll", "--year", 2025, "--month", 10)


def test_only_what_is_missing_is_posted(manage: Manage) -> None:
    process_payroll(employee_with_week().pk, 2025, 10)
    post_payslip(employee_with_week().pk, OCTOBER)
    employee_with_week()

    run = manage(*COMMAND)

    assert run.counts == {"done": 1, "skipped": 2, "failed": 0}
    assert books() == Books(payslips=3, journal_entries=3, payments=3)


def test_a_month_that_expired_from_the_ledger_is_not_missing(manage: Manage) -> None:
    """The ledger remembers for 72 hours, the payslip for ever."""
    someone = employee_with_week()
    process_payroll(someone.pk, 2025, 10)
    clear_idempotency_key("payroll.tasks.process_payroll", [someone.pk, 2025, 10])

    assert manage(*COMMAND).counts == {"done": 0, "skipped": 1, "failed": 0}
    assert books() == Books(payslips=1, journal_entries=1, payments=1)


def test_a_payslip_that_the_ledger_knows_and_the_books_lack_is_for_a_person(
    manage: Manage, truncate_payslips: Callable[[], None]
) -> None:
    process_payroll(employee_with_week().pk, 2025, 10)
    truncate_payslips()

    run = manage(*COMMAND)

    assert (run.status, run.counts) == (1, {"done": 0, "skipped": 0, "failed": 1})
    assert "has no payslip, but the ledger has it as done" in run.err
    assert books() == Books(0, 0, 0)

    [advice] = re.findall(r"'manage.py (.+?)'", run.err)
    manage(*shlex.split(advice))
    assert manage(*COMMAND).counts == {"done": 1, "skipped": 0, "failed": 0}
