"""Every wrong option is refused when the module is imported, by name and with the remedy."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import shared_task

import ledger
from ledger import (
    DuplicateExecution,
    ExecutionHeld,
    ExecutionInProgress,
    ImproperTask,
    LedgerError,
    LedgerUnavailable,
    LostClaim,
    PayloadMismatch,
    UnstorableResult,
    UnusableArgument,
    idempotent_daily_task,
    idempotent_once,
    idempotent_task,
)


def refused(problem: str, **options: Any) -> str:
    """The message with which these options are refused; it names the function and the problem."""

    def pay(self: Any, employee: int, month: int = 11) -> None: ...

    with pytest.raises(ImproperTask, match=re.escape(problem)) as told:
        idempotent_task(**options)(pay)
    message = str(told.value)
    assert f"{__name__}.refused.<locals>.pay" in message
    assert message.endswith(".")
    return message


class TestWrongOptions:
    @pytest.mark.parametrize(
        "ttl", [0, -1, "24", True, [24], float("nan"), float("inf"), 1e12, 24 * 366 * 9000]
    )
    def test_ttl_hours(self, ttl: Any) -> None:
        assert "None for never" in refused(f"ttl_hours={ttl!r}", ttl_hours=ttl)

    @pytest.mark.parametrize("option", ["date_based", "skip_on_duplicate", "dedupe_on_publish"])
    @pytest.mark.parametrize("value", [None, 1, "yes"])
    def test_flags(self, option: str, value: Any) -> None:
        assert "True or False" in refused(f"{option}={value!r}", **{option: value})

    @pytest.mark.parametrize(
        ("option", "value", "available"),
        [
            ("guarantee", "once", "exactly_once, at_least_once, at_most_once"),
            ("guarantee", None, "exactly_once, at_least_once, at_most_once"),
            ("on_in_progress", "queue", "retry, skip, wait, raise"),
            ("on_in_progress", ["retry"], "retry, skip, wait, raise"),
            ("on_ledger_error", "ignore", "raise, run"),
            ("on_ledger_error", None, "raise, run"),
        ],
    )
    def test_choices(self, option: str, value: Any, available: str) -> None:
        message = refused(f"{option}={value!r} is not available", **{option: value})
        assert f"Available: {available}." in message

    def test_running_unprotected_what_must_never_repeat(self) -> None:
        options = {"guarantee": "at_most_once", "on_ledger_error": "run"}
        assert "choose guarantee='at_least_once'" in refused("without a claim", **options)

    @pytest.mark.parametrize("period", ["year", "days", "", 1, ["day"]])
    def test_period(self, period: Any) -> None:
        message = refused(f"period={period!r} is not available", period=period)
        assert "Available: hour, day, week, month." in message

    def test_a_refusal_that_would_be_answered_before_it_is_made(self) -> None:
        refused("skip_on_duplicate=False refuses", dedupe_on_publish=True, skip_on_duplicate=False)

    @pytest.mark.parametrize("period", ["hour", "week", "month"])
    def test_a_period_that_contradicts_date_based(self, period: str) -> None:
        refused("date_based=True means period='day'", period=period, date_based=True)

    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None, 2**31])
    def test_max_crashes(self, value: Any) -> None:
        assert "whole number" in refused(f"max_crashes={value!r}", max_crashes=value)

    @pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
    def test_safe_to_retry_belongs_to_at_most_once(self, guarantee: str) -> None:
        refused(
            "safe_to_retry belongs to guarantee='at_most_once'",
            guarantee=guarantee,
            safe_to_retry=(ValueError,),
        )

    @pytest.mark.parametrize("wrong", [("timeout",), [ValueError], (ValueError, int), ValueError])
    def test_safe_to_retry_is_a_tuple_of_exceptions(self, wrong: object) -> None:
        refused("tuple of exception classes", guarantee="at_most_once", safe_to_retry=wrong)

    @pytest.mark.parametrize("option", ["key", "redact"])
    @pytest.mark.parametrize("value", ["salary", ("employee", "salary"), ["year"]])
    def test_names_of_no_parameter(self, option: str, value: Any) -> None:
        assert "employee, month" in refused(f"{option}=", **{option: value})

    @pytest.mark.parametrize("value", ["", (), [], 7, (7,), {"employee": 1}.keys() - {"employee"}])
    def test_keys_that_name_nothing(self, value: Any) -> None:
        refused("key=", key=value)

    @pytest.mark.parametrize("value", [7, (7,), object()])
    def test_redactions_of_nothing(self, value: Any) -> None:
        refused("redact=", redact=value)

    def test_self_identifies_nothing(self) -> None:
        assert "employee, month" in refused("key=", key="self")
        assert "employee, month" in refused("key=", key=("self", "employee"))

    @pytest.mark.parametrize("value", [7, ["default"], b"default", ""])
    def test_using(self, value: Any) -> None:
        assert "database alias" in refused(f"using={value!r}", using=value)

    def test_an_unknown_option_is_pythons_own_error(self) -> None:
        with pytest.raises(TypeError, match="ttl_ours"):
            idempotent_task(ttl_ours=3)  # type: ignore[call-arg]


class TestWhatCanBeDecorated:
    def test_an_async_function_is_refused(self) -> None:
        async def pay() -> None: ...

        async def pays() -> AsyncIterator[int]:
            yield 1

        for body in (pay, pays):
            with pytest.raises(ImproperTask, match=r"pays?: an async def body.*plain def"):
                idempotent_task()(body)

    def test_a_generator_is_refused(self) -> None:
        def pay() -> Iterator[int]:
            yield 1

        with pytest.raises(ImproperTask, match=r"pay: a generator .*Return a value"):
            idempotent_task()(pay)

    @pytest.mark.parametrize(
        "decorator",
        [idempotent_task, idempotent_daily_task, idempotent_once],
        ids=lambda d: d.__name__,
    )
    def test_a_decorator_without_parentheses_is_refused(self, decorator: Any) -> None:
        with pytest.raises(ImproperTask, match=r"write @idempotent_\w+\(\) with parentheses"):

            @decorator
            def pay() -> None: ...

    def test_a_celery_task_is_refused(self) -> None:
        @shared_task
        def pay() -> None: ...

        with pytest.raises(ImproperTask, match=r"below @shared_task"):
            idempotent_task()(pay)

    @pytest.mark.parametrize("thing", [int, object(), print, staticmethod(len), "pay"], ids=type)
    def test_whatever_is_no_function_is_refused(self, thing: Any) -> None:
        with pytest.raises(ImproperTask, match="plain functions"):
            idempotent_task()(thing)

    def test_a_function_is_decorated_once(self) -> None:
        def pay() -> None: ...

        with pytest.raises(ImproperTask, match=r"pay: .*already"):
            idempotent_task()(idempotent_task()(pay))


class TestAccepted:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"ttl_hours": None},
            {"ttl_hours": 0.25},
            {"ttl_hours": 24 * 365 * 100},
            {"period": "day"},
            {"key": "employee"},
            {"key": ["employee", "month"]},
            {"key": lambda employee, month: employee},
            {"redact": "employee"},
            {"redact": ["employee"]},
            {"on_in_progress": "raise", "on_ledger_error": "run", "max_crashes": 1},
            {"using": "default"},
            {"using": lambda employee, month: "default"},
            {"guarantee": "exactly_once", "safe_to_retry": ()},
        ],
    )
    @pytest.mark.parametrize("decorator", [idempotent_task, idempotent_daily_task, idempotent_once])
    def test_every_documented_option(self, decorator: Any, options: dict[str, Any]) -> None:
        @decorator(**options)
        def pay(employee: int, month: int = 11) -> int:
            return employee

        assert callable(pay)

    def test_the_options_are_those_that_were_asked_for(self) -> None:
        signature = inspect.signature(idempotent_task)
        assert {name: p.default for name, p in signature.parameters.items()} == {
            "ttl_hours": 24,
            "date_based": False,
            "skip_on_duplicate": True,
            "guarantee": "exactly_once",
            "key": None,
            "on_in_progress": "retry",
            "on_ledger_error": "raise",
            "max_crashes": 3,
            "safe_to_retry": (),
            "redact": (),
            "using": None,
            "period": None,
            "dedupe_on_publish": False,
        }
        positional = [n for n, p in signature.parameters.items() if p.kind is not p.KEYWORD_ONLY]
        assert positional == ["ttl_hours", "date_based", "skip_on_duplicate"]
        assert inspect.signature(idempotent_daily_task).parameters["ttl_hours"].default == 48
        assert inspect.signature(idempotent_once).parameters["ttl_hours"].default == 24


class TestThePublicNames:
    def test_all_of_them_can_be_imported_from_the_package(self) -> None:
        for name in [
            "idempotent_task", "idempotent_daily_task", "idempotent_once", "make_idempotency_key",
            "check_idempotency_status", "clear_idempotency_key", "current_execution",
        ]:  # fmt: skip
            assert callable(getattr(ledger, name))
            assert name in ledger.__all__

    def test_every_error_is_a_ledger_error(self) -> None:
        for error in (
            DuplicateExecution, ExecutionInProgress, ExecutionHeld, LostClaim, PayloadMismatch,
            LedgerUnavailable, UnusableArgument, UnstorableResult, ImproperTask,
        ):  # fmt: skip
            assert issubclass(error, LedgerError)
        assert issubclass(DuplicateExecution, RuntimeError)


class TestTheDecoratedFunction:
    def test_it_keeps_its_name_signature_and_documentation(self) -> None:
        def pay(self: Any, employee: int, *, month: int = 11) -> str:
            """Pays."""
            return ""

        decorated = idempotent_task()(pay)
        assert inspect.signature(decorated) == inspect.signature(pay)
        assert (decorated.__name__, decorated.__doc__) == ("pay", "Pays.")
        assert decorated.__module__ == pay.__module__

    def test_celery_still_checks_the_arguments_when_publishing(self) -> None:
        @shared_task(bind=True, name="publishing is checked")
        @idempotent_task()
        def pay(self: Any, employee: int) -> None: ...

        with pytest.raises(TypeError, match="employee"):
            pay.delay()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="takes 2 positional arguments but 3"):
            pay.delay(1, 2)  # type: ignore[call-arg]

    def test_its_types_survive(self, tmp_path: Path) -> None:
        """Checked as a user's type checker does, the types of others left out for speed."""
        snippet = tmp_path / "snippet.py"
        snippet.write_text(
            textwrap.dedent(
                """
                from ledger.decorators import (
                    idempotent_daily_task, idempotent_once, idempotent_task
                )

                @idempotent_task(ttl_hours=72)
                def pay(employee: int, month: str = "11") -> dict[str, int]:
                    return {}

                @idempotent_daily_task()
                def daily() -> float:
                    return 0.5

                @idempotent_once(key="name", redact=("name",))
                def once(name: str) -> None: ...

                reveal_type(pay)
                reveal_type(daily)
                reveal_type(once)
                reveal_type(pay(7))
                pay("seven")
                pay(7, year=2026)
                idempotent_task(ttl_hours="long")
                """
            )
        )
        package = Path(ledger.__file__).parent
        checked = subprocess.run(
            [
                *(sys.executable, "-m", "mypy"),
                "--config-file=",
                "--follow-imports=skip",
                "--ignore-missing-imports",
                "--hide-error-context",
                "--no-error-summary",
                f"--cache-dir={tmp_path}",
                str(package / "decorators.py"),
                str(snippet),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in checked.stdout.splitlines() if "snippet.py" in line]
        told = [line.split(": ", 1)[1] for line in lines]
        assert [line.replace("builtins.", "") for line in told] == [
            'note: Revealed type is "def (employee: int, month: str =) -> dict[str, int]"',
            'note: Revealed type is "def () -> float"',
            'note: Revealed type is "def (name: str)"',
            'note: Revealed type is "dict[str, int]"',
            'error: Argument 1 to "pay" has incompatible type "str"; expected "int"  [arg-type]',
            'error: Unexpected keyword argument "year" for "pay"  [call-arg]',
            'error: Argument "ttl_hours" to "idempotent_task" has incompatible type "str";'
            ' expected "float | None"  [arg-type]',
        ]
