"""A company that does not exist: 250 people at three sites, October and November 2025.

Berlin's clocks go back on 26 October, those in the United States on 2 November, both in the middle
of a night shift. Some check-outs are missing, some logs overlap, and people are hired, leave or get
a raise in the middle of it. Public holidays fall into both months.

Only integers from a seeded generator are used, so that a seed makes the same bytes everywhere.
"""

import csv
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from payroll.bank.transfer import LETTERS_AS_NUMBERS
from payroll.imports import EmployeeImport, PayPolicyImport, WorkLogImport

SEED = 2025
FIRST_DAY, LAST_DAY = date(2025, 10, 1), date(2025, 11, 30)
RAISES_FROM = date(2025, 11, 12)

POLICIES = (
    "BERLIN,Berlin works agreement,0,,1.5,,2,2400,1.25,22:00,06:00,0.25,DE,BE,2,5,0.01,0.38",
    "NEWYORK,New York hourly,6,,1.5,,2,2400,1.5,23:00,07:00,0.1,US,,1.5,15,0.01,0.22",
    "CALIFORNIA,California hourly,6,480,1.5,720,2,2400,1.5,,,0,US,CA,1.5,6,0.01,0.24",
)

FIRST_NAMES = (
    *("Ada", "Bela", "Chidi", "Dana", "Emeka", "Fatma", "Goran", "Hana", "Ines", "Jonas", "Kofi"),
    *("Lena", "Mateo", "Nadia", "Omar", "Priya", "Quinn", "Rosa", "Sven", "Tomas", "Uma", "Vera"),
    *("Wen", "Yara", "Zofia"),
)
LAST_NAMES = (
    *("Acosta", "Berger", "Chen", "Duarte", "Eriksen", "Fischer", "Gupta", "Hoang", "Ibrahim"),
    *("Jansen", "Kowalski", "Lopez", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi"),
    *("Schmidt", "Tanaka", "Ulrich", "Vargas", "Weber", "Yilmaz", "Zhang"),
)


@dataclass(frozen=True)
class Site:
    policy: str
    zone: ZoneInfo
    currency: str
    people: int
    cents: tuple[int, int]
    punches_lunch: bool


SITES = (
    Site("BERLIN", ZoneInfo("Europe/Berlin"), "EUR", 130, (1450, 3200), True),
    Site("NEWYORK", ZoneInfo("America/New_York"), "USD", 70, (1650, 4200), False),
    Site("CALIFORNIA", ZoneInfo("America/Los_Angeles"), "USD", 50, (1650, 4500), False),
)
SHIFTS = {"day": (7, 0, 510), "late": (14, 0, 510), "night": (22, 0, 480), "long": (6, 30, 780)}
"""Hour and minute of the start, and minutes at work."""


@dataclass(frozen=True)
class Person:
    number: str
    name: str
    site: Site
    shift: str
    hired_on: date
    left_on: date | None
    cents: int
    raised_to: int | None


def people(chance: random.Random) -> Iterator[Person]:
    number = 0
    for site in SITES:
        for _ in range(site.people):
            number += 1
            cents = chance.randrange(*site.cents, 5)
            hired_on = date(2015, 1, 1) + timedelta(days=chance.randrange(3900))
            left_on = None
            if number % 41 == 0:
                hired_on = FIRST_DAY + timedelta(days=chance.randrange(5, 30))
            elif number % 37 == 0:
                left_on = FIRST_DAY + timedelta(days=chance.randrange(5, 55))
            yield Person(
                number=f"E{number:04}",
                name=f"{FIRST_NAMES[chance.randrange(25)]} {LAST_NAMES[chance.randrange(25)]}",
                site=site,
                shift=("day", "day", "late", "night", "night", "long")[chance.randrange(6)],
                hired_on=hired_on,
                left_on=left_on,
                cents=cents,
                raised_to=cents + chance.randrange(25, 200, 5) if number % 23 == 0 else None,
            )


def shifts(person: Person, chance: random.Random) -> Iterator[tuple[datetime, datetime | None]]:
    """Check-ins and check-outs in UTC. Work is five days of seven, now and then six."""
    first = max(FIRST_DAY, person.hired_on)
    last = min(LAST_DAY, person.left_on or LAST_DAY)
    hour, minute, length = SHIFTS[person.shift]
    rest = chance.randrange(7)
    for offset in range((last - first).days + 1):
        day = first + timedelta(days=offset)
        in_week = (day.toordinal() + rest) % 7
        if in_week >= 5 and not (in_week == 5 and chance.randrange(6) == 0):
            continue
        if person.shift == "long" and in_week == 4 and chance.randrange(3):
            continue
        starts = datetime(day.year, day.month, day.day, hour, minute, tzinfo=person.site.zone)
        ends = starts + timedelta(minutes=length)  # by the clock on the wall, changed or not
        check_in = starts.astimezone(UTC) + timedelta(minutes=chance.randrange(-12, 13))
        check_out = ends.astimezone(UTC) + timedelta(minutes=chance.randrange(-15, 40))
        if chance.randrange(25) == 0:
            check_out += timedelta(minutes=chance.randrange(60, 180))
        if chance.randrange(300) == 0:
            yield check_in, None
        elif person.site.punches_lunch:
            lunch = check_in + timedelta(minutes=chance.randrange(200, 280))
            yield check_in, lunch
            yield lunch + timedelta(minutes=chance.randrange(28, 46)), check_out
        else:
            yield check_in, check_out
        if chance.randrange(250) == 0:
            again = check_out - timedelta(minutes=chance.randrange(20, 90))
            yield again, check_out + timedelta(minutes=chance.randrange(10, 60))


def generate(seed: int, directory: Path) -> list[Path]:
    """Write pay_policies.csv, employees.csv and work_logs.csv there, and return their paths."""
    chance = random.Random(seed)  # noqa: S311
    company = list(people(chance))
    return [
        _write(
            directory / "pay_policies.csv",
            PayPolicyImport.columns,
            (p.split(",") for p in POLICIES),
        ),
        _write(directory / "employees.csv", EmployeeImport.columns, _employee_rows(company)),
        _write(directory / "work_logs.csv", WorkLogImport.columns, _log_rows(company, chance)),
    ]


def _employee_rows(company: list[Person]) -> Iterator[list[str]]:
    for person in company:
        rates = [(person.cents, person.hired_on)]
        if person.raised_to and person.hired_on < RAISES_FROM:
            rates.append((person.raised_to, RAISES_FROM))
        for cents, valid_from in rates:
            yield [
                person.number,
                person.name,
                person.site.currency,
                person.site.zone.key,
                person.site.policy,
                str(person.hired_on),
                str(person.left_on or ""),
                f"{cents // 100}.{cents % 100:02}",
                str(valid_from),
                f"{person.number.lower()}@example.com",
                iban(person),
            ]


def iban(person: Person) -> str:
    """An account at a bank that does not exist."""
    account = person.number.removeprefix("E").zfill(18)
    check = 98 - int((account + "DE00").translate(LETTERS_AS_NUMBERS)) % 97
    return f"DE{check:02}{account}"


def _log_rows(company: list[Person], chance: random.Random) -> Iterator[list[str]]:
    for person in company:
        zone = person.site.zone
        for check_in, check_out in shifts(person, chance):
            yield [
                person.number,
                check_in.astimezone(zone).isoformat(timespec="minutes"),
                check_out.astimezone(zone).isoformat(timespec="minutes") if check_out else "",
                zone.key,
            ]


def _write(path: Path, columns: Sequence[str], rows: Iterable[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path
