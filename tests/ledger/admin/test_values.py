"""Arguments, results and errors are shown to those who may see them, and hidden from others."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from ledger import current_execution, idempotent_task
from ledger.models import ExecutionEvent, TaskExecution
from tests.ledger.admin.conftest import Staff
from tests.ledger.admin.site import LIST, listed, shown
from tests.testapp.models import Effect

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "DE02120300000000202051"


def everything(client: Client) -> str:
    """All that the admin shows of all executions, the exports included."""
    pages = [listed(client)]
    pages += [shown(client, row) for row in TaskExecution.objects.all()]
    pages.append(b"".join(client.get(f"{LIST}export.csv").streaming_content).decode())  # type: ignore[attr-defined]
    return "\n".join(pages)


@idempotent_task()
def earn(employee: str) -> dict[str, str]:
    return {"iban": SECRET}


@idempotent_task()
def fail(employee: str) -> None:
    raise ValueError(f"no such account: {SECRET}")


@idempotent_task(guarantee="at_least_once")
def in_steps(employee: str) -> None:
    current_execution().step("pay", lambda: SECRET)
    current_execution().wrote(Effect.objects.create(key=SECRET))


class TestThePermission:
    def test_it_hides_arguments_results_errors_tracebacks_and_labels(self, staff: Staff) -> None:
        earn(SECRET)
        in_steps(SECRET)
        with pytest.raises(ValueError, match="account"):
            fail(SECRET)
        blind = everything(staff())
        assert SECRET not in blind
        assert "hidden" in blind
        allowed = staff("can_view_values", name="accountant")
        pages = [shown(allowed, row) for row in TaskExecution.objects.order_by("id")]
        assert pages[0].count(SECRET) == 2  # argument and result
        assert pages[1].count(SECRET) == 3  # argument, step and object
        assert pages[2].count(SECRET) >= 3  # argument, error, the failure and its traceback

    def test_a_lost_claim_tells_no_result(self, staff: Staff) -> None:
        earn("7")
        row = TaskExecution.objects.get()
        ExecutionEvent.objects.create(
            execution=row, kind="lost_claim", at=row.claimed_at, attempt=1, reason=SECRET
        )
        assert SECRET not in everything(staff())


class TestRedacting:
    """What ``redact=`` names is never stored with the arguments, nor in what an error says."""

    @staticmethod
    def stored() -> str:
        rows: list[Any] = list(TaskExecution.objects.values("arguments", "error"))
        rows += list(ExecutionEvent.objects.values("reason", "traceback"))
        return str(rows)

    @pytest.mark.parametrize("iban", [SECRET, {"account": SECRET}, ["x", SECRET]])
    def test_an_error_that_quotes_it(self, iban: Any) -> None:
        @idempotent_task(redact=("iban",))
        def send(iban: Any, amount: int) -> None:
            raise ValueError(f"{iban} of {amount}: refused")

        with pytest.raises(ValueError, match=SECRET):
            send(iban, 250)
        assert SECRET not in self.stored()
        assert "[redacted]" in self.stored()
        assert "250" in self.stored()

    def test_a_cause_that_quotes_it(self) -> None:
        @idempotent_task(redact=("iban",))
        def send(iban: str) -> None:
            try:
                raise KeyError(iban)
            except KeyError as error:
                raise ValueError("no account") from error

        with pytest.raises(ValueError, match="no account"):
            send(SECRET)
        assert SECRET not in self.stored()

    def test_a_value_too_short_to_tell_apart_stays(self) -> None:
        @idempotent_task(redact=("code",))
        def send(code: int) -> None:
            raise ValueError("line 1 of 11")

        with pytest.raises(ValueError, match="line"):
            send(1)
        assert "line 1 of 11" in self.stored()
