"""The demo's second opinion, on months that were worked out by hand."""

import ast
import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from payroll.demo import recompute
from payroll.demo.recompute import Earned

POLICY = {
    "code": "P",
    "name": "Forty hours a week",
    "week_start": "0",
    "daily_after": "",
    "daily_multiplier": "1.5",
    "double_after": "",
    "double_multiplier": "2",
    "weekly_after": "2400",
    "weekly_multiplier": "1.5",
    "night_start": "",
    "night_end": "",
    "night_premium": "0",
    "holiday_country": "",
    "holiday_subdivision": "",
    "holiday_multiplier": "1",
    "minute_step": "1",
    "money_step": "0.01",
    "withholding_rate": "0",
}
EMPLOYEE = {
    "number": "E1",
    "name": "Dana Weber",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "pay_policy": "P",
    "hired_on": "2020-01-01",
    "left_on": "",
    "hourly_rate": "20.00",
    "rate_valid_from": "2020-01-01",
}
NIGHTS = {"night_start": "22:00", "night_end": "06:00", "night_premium": "0.25"}
CALIFORNIAN = {"daily_after": "480", "double_after": "720"}

Log = tuple[str, str]


class Company:
    """Writes the three files and asks what E1 earned in October 2025."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def earned(
        self,
        logs: list[Log],
        policy: dict[str, str] | None = None,
        employee: dict[str, str] | None = None,
        raises: list[tuple[str, str]] | None = None,
    ) -> Earned:
        person = EMPLOYEE | (employee or {})
        later = [person | {"hourly_rate": r, "rate_valid_from": d} for d, r in raises or []]
        self._write("pay_policies.csv", [POLICY | (policy or {})])
        self._write("employees.csv", [person, *later])
        self._write(
            "work_logs.csv",
            [
                {"employee_number": "E1", "check_in": _at(a), "check_out": b and _at(b)}
                for a, b in logs
            ],
        )
        return recompute.month_earnings(self.folder, *OCTOBER, ["E1"])["E1"]

    def _write(self, name: str, rows: list[dict[str, str]]) -> None:
        with (self.folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


OCTOBER = (date(2025, 10, 1), date(2025, 10, 31))


def _at(short: str) -> str:
    """``06 08:00`` is eight o'clock on 6 October in Berlin's summer time; what is whole stays."""
    return short if "T" in short else f"2025-10-{short[:2]}T{short[3:]}+02:00"


def week(days: range, starts: str = "08:00", ends: str = "17:00") -> list[Log]:
    return [(f"{day:02} {starts}", f"{day:02} {ends}") for day in days]


@pytest.fixture
def company(tmp_path: Path) -> Company:
    return Company(tmp_path)


def test_a_day_is_worth_its_hours_less_withholding(company: Company) -> None:
    earned = company.earned([("06 08:00", "06 16:00")], {"withholding_rate": "0.25"})

    assert earned == Earned("EUR", 480, Decimal(160), Decimal(40), Decimal(120))


def test_time_covered_twice_is_paid_once_and_an_open_log_not_at_all(company: Company) -> None:
    logs = [("06 08:00", "06 12:00"), ("06 11:30", "06 13:00"), ("06 14:00", "")]

    assert company.earned(logs)[1:3] == (300, Decimal(100))


@pytest.mark.parametrize(
    ("check_in", "check_out"),
    [
        ("06 08:02:30", "06 16:05:00"),  # half goes up: from 8:05
        ("06 07:57:30", "06 16:02:29"),  # to 8:00, and back to 16:00
        ("06 07:57:29", "06 15:57:00"),  # both five minutes earlier
    ],
)
def test_punches_go_to_the_nearest_step(company: Company, check_in: str, check_out: str) -> None:
    assert company.earned([(check_in, check_out)], {"minute_step": "5"}).minutes == 480


def test_a_night_shift_over_the_end_of_summer_time_has_nine_hours(company: Company) -> None:
    shift = ("2025-10-25T22:00+02:00", "2025-10-26T06:00+01:00")

    earned = company.earned([shift], NIGHTS)

    assert (earned.minutes, earned.gross) == (540, Decimal(225))  # 9 x 20.00 x 1.25


def test_only_the_minutes_by_night_earn_the_night_premium(company: Company) -> None:
    earned = company.earned([("06 20:00", "07 02:00")], NIGHTS)

    assert earned.gross == Decimal(140)  # 6 x 20.00 and 4 x 5.00


def test_a_day_has_overtime_and_then_double_time(company: Company) -> None:
    earned = company.earned([("06 06:00", "06 19:00")], CALIFORNIAN)

    assert earned.gross == Decimal(320)  # 13 x 20.00, 4 x 10.00, 1 x 20.00


def test_what_is_beyond_forty_hours_a_week_is_overtime(company: Company) -> None:
    assert company.earned(week(range(6, 11))).gross == Decimal(950)  # 45 x 20.00, 5 x 10.00


def test_overtime_of_the_day_does_not_count_again_for_the_week(company: Company) -> None:
    earned = company.earned(week(range(6, 11)), CALIFORNIAN)

    assert earned.gross == Decimal(950)  # five daily hours of overtime, and forty others


def test_hours_on_a_holiday_do_not_count_for_the_week(company: Company) -> None:
    """The week began in September, and 3 October is a holiday: of 60 hours ten are a holiday's."""
    berlin = {"holiday_country": "DE", "holiday_subdivision": "BE", "holiday_multiplier": "2"}
    september = [(f"2025-09-{day}T08:00+02:00", f"2025-09-{day}T18:00+02:00") for day in (29, 30)]

    earned = company.earned([*september, *week(range(1, 5), ends="18:00")], berlin)

    # In October 40 x 20.00, holiday 10 x 20.00, and the last ten of fifty hours x 10.00
    assert (earned.minutes, earned.gross) == (2400, Decimal(1100))


@pytest.mark.parametrize(("multiplier", "gross"), [("1.5", "544.44"), ("2", "640")])
def test_on_a_holiday_the_greater_premium_counts(
    company: Company, multiplier: str, gross: str
) -> None:
    """Overtime pays on the week's average of 440.00 / 18, a holiday on the rate of its day."""
    policy = {**CALIFORNIAN, "holiday_country": "US", "holiday_multiplier": multiplier}
    logs = [("13 08:00", "13 18:00"), ("14 08:00", "14 16:00")]

    earned = company.earned(logs, policy, raises=[("2025-10-14", "30.00")])

    # 10 x 20.00 and 8 x 30.00; 8 x 10.00 of holiday and 24.44 of overtime, or 10 x 20.00 of holiday
    assert earned.gross == Decimal(gross)


@pytest.mark.parametrize(("left_on", "gross"), [("", 900), ("2025-10-31", 950)])
def test_overtime_is_paid_when_the_week_or_the_employment_ends(
    company: Company, left_on: str, gross: int
) -> None:
    """The clocks have gone back: the last week of October is in winter time."""
    logs = [(f"2025-10-{d}T08:00+01:00", f"2025-10-{d}T17:00+01:00") for d in range(27, 32)]

    assert company.earned(logs, employee={"left_on": left_on}).gross == Decimal(gross)


def test_overtime_after_a_raise_is_paid_on_the_average_of_the_week(company: Company) -> None:
    logs = week(range(6, 11), ends="18:00")

    earned = company.earned(logs, raises=[("2025-10-09", "24.00")])

    # 30 x 20.00 and 20 x 24.00 make 21.60 an hour: 1080.00 and 10 x 10.80
    assert earned.gross == Decimal(1188)


def test_night_premiums_raise_the_rate_of_overtime(company: Company) -> None:
    logs = [(f"{day:02} 21:00", f"{day + 1:02} 07:00") for day in range(6, 11)]

    # 50 x 20.00 and 40 x 5.00 make 24.00 an hour: 1200.00 and 10 x 12.00
    assert company.earned(logs, NIGHTS).gross == Decimal(1320)


def test_half_a_cent_goes_to_whoever_worked_for_it(company: Company) -> None:
    earned = company.earned(
        [("06 08:00", "06 08:01")], {"withholding_rate": "0.5"}, {"hourly_rate": "0.30"}
    )

    assert earned == Earned("EUR", 1, Decimal("0.01"), Decimal("0.01"), Decimal(0))


def test_work_outside_of_the_employment_is_not_paid(company: Company) -> None:
    logs = week(range(6, 10), ends="16:00")

    earned = company.earned(logs, employee={"hired_on": "2025-10-07", "left_on": "2025-10-08"})

    assert earned.minutes == 960


def test_a_country_without_known_holidays_is_refused(company: Company) -> None:
    with pytest.raises(KeyError, match="FR"):
        company.earned([("06 08:00", "06 16:00")], {"holiday_country": "FR"})


def test_those_employed_on_a_day_of_the_month_are_known(company: Company) -> None:
    company.earned([("06 08:00", "06 16:00")], employee={"left_on": "2025-10-01"})
    assert recompute.employed(company.folder, *OCTOBER) == ["E1"]

    company.earned([("06 08:00", "06 16:00")], employee={"left_on": "2025-09-30"})
    assert recompute.employed(company.folder, *OCTOBER) == []


def test_it_shares_no_code_with_the_application() -> None:
    imported = set()
    for node in ast.walk(ast.parse(Path(recompute.__file__).read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module))

    roots = {name.split(".")[0] for name in imported}
    assert not roots & {"payroll", "ledger", "core", "django", "holidays"}
