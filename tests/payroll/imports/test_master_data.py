from decimal import Decimal
from pathlib import Path

import pytest

from payroll.imports import Counts, EmployeeImport, PayPolicyImport, import_file
from payroll.imports.run import Import
from payroll.models import Employee, HourlyRate, PayPolicy
from tests.payroll.factories import PayPolicyFactory

pytestmark = pytest.mark.django_db

DANA = (
    "E1,Dana Weber,EUR,Europe/Berlin,P,2020-01-01,,20.00,2020-01-01,"
    "dana@example.com,DE89370400440532013000"
)

POLICY_ROW = "P,Plain,0,480,1.5,,2,2400,1.5,22:00,06:00,0.25,DE,BE,2,5,0.01,0.38"


def imported(path: Path, importer: Import, *rows: str) -> tuple[Counts, list[tuple[int, str]]]:
    file = path / "file.csv"
    file.write_text("\n".join([",".join(importer.columns), *rows, ""]))
    rejected: list[tuple[int, str]] = []
    counts = import_file(
        file, importer, rejected=lambda line, why: rejected.append((line, str(why)))
    )
    return counts, rejected


@pytest.fixture
def policy() -> PayPolicy:
    return PayPolicyFactory.create(code="P")


def test_an_employee_comes_with_a_rate(tmp_path: Path, policy: PayPolicy) -> None:
    assert imported(tmp_path, EmployeeImport(), DANA) == (Counts(added=1), [])

    dana = Employee.objects.get()
    assert (dana.number, dana.name, dana.pay_policy, dana.left_on) == (
        "E1",
        "Dana Weber",
        policy,
        None,
    )
    assert dana.hourly_rates.get().amount == 20
    assert (dana.email, dana.iban) == ("dana@example.com", "DE89370400440532013000")


def test_an_employee_may_have_neither_mail_nor_account(tmp_path: Path, policy: PayPolicy) -> None:
    bare = DANA.replace("dana@example.com,DE89370400440532013000", ",")
    assert imported(tmp_path, EmployeeImport(), bare) == (Counts(added=1), [])
    assert imported(tmp_path, EmployeeImport(), DANA) == (Counts(changed=1), [])

    assert Employee.objects.get().iban == "DE89370400440532013000"


def test_employees_twice_add_nothing(tmp_path: Path, policy: PayPolicy) -> None:
    imported(tmp_path, EmployeeImport(), DANA)

    assert imported(tmp_path, EmployeeImport(), DANA) == (Counts(unchanged=1), [])
    assert (Employee.objects.count(), HourlyRate.objects.count()) == (1, 1)


def test_a_further_row_is_a_raise_and_the_last_one_says_how_things_are(
    tmp_path: Path, policy: PayPolicy
) -> None:
    raised = DANA.replace("20.00,2020-01-01", "21.50,2025-01-01").replace("Weber", "Okafor")
    leaving = raised.replace(",,", ",2025-12-31,")
    counts, _ = imported(tmp_path, EmployeeImport(), DANA, raised, leaving)

    dana = Employee.objects.get()
    assert counts == Counts(added=2, changed=1)
    assert dana.name == "Dana Okafor"
    assert str(dana.left_on) == "2025-12-31"
    assert [rate.amount for rate in dana.hourly_rates.all()] == [20, Decimal("21.50")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("E1,", ","), "number is empty"),
        (("EUR", "eur"), "currency: Give an ISO 4217 code"),
        (("Europe/Berlin", "Berlin"), "Berlin is not a time zone"),
        ((",P,", ",Q,"), "pay_policy 'Q' is not known: import the policy first"),
        (("2020-01-01,,", "1.1.2020,,"), "hired_on '1.1.2020' is not a day"),
        ((",,", ",2019-12-31,"), "left_on 2019-12-31 is before hired_on 2020-01-01"),
        (("20.00", "20,00"), "has 12 cells instead of 11"),
        (("20.00", "NaN"), "hourly_rate 'NaN' is not a number"),
        (("20.00", "0"), "is not more than nothing"),
        (("20.00", "20.00001"), "amount: Ensure that there are no more than 4 decimal places"),
        (("dana@", "dana "), "email: Enter a valid email address"),
        (("DE89", "DE88"), "iban: DE88370400440532013000 is not an account"),
        (("DE89", "de89"), "give an IBAN without spaces, in capital letters"),
        (("E1", "E" * 21), "number: Ensure this value has at most 20 characters"),
        (("E1", "E\x001"), "characters that cannot be printed"),
    ],
)
def test_a_bad_employee_is_rejected(
    tmp_path: Path, policy: PayPolicy, change: tuple[str, str], reason: str
) -> None:
    counts, rejected = imported(tmp_path, EmployeeImport(), DANA.replace(*change, 1))

    assert counts == Counts(rejected=1)
    assert reason in rejected[0][1]
    assert not Employee.objects.exists()


def test_what_an_hour_was_once_worth_is_not_changed_by_a_file(
    tmp_path: Path, policy: PayPolicy
) -> None:
    imported(tmp_path, EmployeeImport(), DANA)
    other = DANA.replace("20.00", "30.00").replace("Dana", "Danny")
    counts, rejected = imported(tmp_path, EmployeeImport(), other)

    assert counts == Counts(rejected=1)
    assert "hourly_rate from 2020-01-01 is 20.0000 already, not 30.00" in rejected[0][1]
    assert Employee.objects.get().name == "Dana Weber"


def test_a_policy_is_stored_as_it_says(tmp_path: Path) -> None:
    assert imported(tmp_path, PayPolicyImport(), POLICY_ROW) == (Counts(added=1), [])

    rules = PayPolicy.objects.get().as_rules()
    assert (rules.daily_after, rules.double_after, rules.weekly_after) == (480, None, 2400)
    assert (str(rules.night_start), str(rules.night_end)) == ("22:00:00", "06:00:00")
    assert (rules.holiday_multiplier, rules.minute_step) == (2, 5)


def test_a_policy_is_not_changed_by_a_file(tmp_path: Path) -> None:
    imported(tmp_path, PayPolicyImport(), POLICY_ROW)
    same, _ = imported(tmp_path, PayPolicyImport(), POLICY_ROW)
    counts, rejected = imported(tmp_path, PayPolicyImport(), POLICY_ROW.replace("0.38", "0.39"))

    assert (same, counts) == (Counts(unchanged=1), Counts(rejected=1))
    assert "with another withholding_rate" in rejected[0][1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("P,", ","), "code is empty"),
        ((",0,480", ",8,480"), "week_start"),
        ((",480", ",eight"), "daily_after 'eight' is not a whole number"),
        (("22:00", "10 pm"), "night_start '10 pm' is not a time of day"),
        (("22:00", ""), "Give both ends of the night or none"),
        ((",DE,", ",XX,"), "holiday_country: No public holidays are known there"),
        ((",2,5,", ",1.1,5,"), "Holidays pay no premium"),
        ((",5,0.01", ",7,0.01"), "minute_step"),
        (("0.38", "38"), "withholding_rate"),
    ],
)
def test_a_bad_policy_is_rejected(tmp_path: Path, change: tuple[str, str], reason: str) -> None:
    counts, rejected = imported(tmp_path, PayPolicyImport(), POLICY_ROW.replace(*change, 1))

    assert counts == Counts(rejected=1)
    assert reason in rejected[0][1]
    assert not PayPolicy.objects.exists()
