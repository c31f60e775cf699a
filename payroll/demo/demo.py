"""The whole demo, in order."""

import random
import subprocess
import sys
import time
from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from payroll.tasks import process_payroll

from . import databases, messages, recompute, report
from .broker import Broker
from .checks import Check, check
from .errors import DemoError
from .messages import Messages
from .recompute import Earned
from .run import Outcome, Run
from .screen import Screen
from .site import MONTH, YEAR, Site
from .tasks import process_payroll_without_the_ledger

SAMPLE = Path(__file__).parents[1] / "sample_data"
SET_UP = (
    ("Making the tables", ("migrate", "--verbosity", "0")),
    ("Importing the policies", ("import_pay_policies", str(SAMPLE / "pay_policies.csv"))),
    ("Importing the employees", ("import_employees", str(SAMPLE / "employees.csv"))),
    ("Importing the work logs", ("import_worklogs", str(SAMPLE / "work_logs.csv"))),
)
FIRST_DAY = date(YEAR, MONTH, 1)
LAST_DAY = date(YEAR, MONTH, monthrange(YEAR, MONTH)[1])
KILLS = 2
WITHOUT_A_NET = "ALTER TABLE payroll_payslip DROP CONSTRAINT payslip_regular_is_the_first"
"""Where the ledger is taken off, so is what would refuse a second payslip in its place."""


def demonstrate(screen: Screen, seed: int, limit: int | None) -> list[Check]:
    """Run the demo for everybody, or for ``limit`` employees; returns every check.

    Raises DemoError if it cannot be run to its end.
    """
    began = time.monotonic()
    numbers = _choose(seed, limit)
    with databases.server() as server:
        site = Site(databases.claim_name(server))
        site.prepare()
        with Broker() as broker:
            again = f"--seed {seed}" + (f" --employees {limit}" if limit else "")
            screen.say(f'Seed {seed}: make demo ARGS="{again}" repeats this month.')
            screen.say(f"Databases {site.database} and {site.control}, which are made anew.")
            screen.say(f"Queue {site.queue} on {broker}.")
            screen.say("Working out from the CSV files what everybody earned…")
            expected = recompute.month_earnings(SAMPLE, FIRST_DAY, LAST_DAY, numbers)
            told = messages.for_employees(sorted(expected), seed)
            _set_up(screen, site, server, expected, told)

            screen.say(f"{len(told.all)} messages for {len(expected)} employees, with the ledger:")
            run = Run(site, site.database, process_payroll.name, broker, screen)
            ledger = run.pay(told)
            broker.clear()
            screen.say("The same messages and the same kills, without the ledger:")
            undecorated = process_payroll_without_the_ledger.name
            control = Run(site, site.control, undecorated, broker, screen).pay(told)

    checks = [*ledger.checks, *_about_the_demo(ledger, control)]
    report.tell(screen, site, checks, ledger, control)
    screen.say(f"{time.monotonic() - began:.0f} seconds in all.")
    return checks


def _about_the_demo(ledger: Outcome, control: Outcome) -> Iterator[Check]:
    """That it demonstrated anything."""
    for which, run in (("with", ledger), ("without", control)):
        killed = run.numbers.killed
        promise = f"A pool process and a whole worker were killed, {which} the ledger"
        yield check(promise, killed == KILLS, "kills", KILLS, killed)
    twice = control.numbers.posted_twice
    yield check("Without the ledger, employees are posted twice", twice > 0, "they", "some", twice)


def _choose(seed: int, limit: int | None) -> list[str]:
    """The numbers of those who take part."""
    numbers = sorted(recompute.employed(SAMPLE, FIRST_DAY, LAST_DAY))
    if limit is None:
        return numbers
    if not 2 <= limit <= len(numbers):
        raise DemoError(f"--employees takes a number from 2 to {len(numbers)}, not {limit}.")
    return random.Random(seed).sample(numbers, limit)  # noqa: S311


def _set_up(
    screen: Screen,
    site: Site,
    server: psycopg.Connection,
    expected: Mapping[str, Earned],
    told: Messages,
) -> None:
    """The sample company and what the demo knows of it, in two databases that are alike."""
    databases.make_anew(server, site.database)
    for what, command in SET_UP:
        screen.say(f"{what}…")
        _manage(site, command)
    with psycopg.connect(databases.conninfo(site.database)) as session:
        databases.run_file(session, "tables.sql")
        _copy(session, "demo_expected", ((number, *earned) for number, earned in expected.items()))
        rows = ((place, m.task_id, m.number) for place, m in enumerate(told.all))
        _copy(session, "demo_message", rows)
    databases.make_anew(server, site.control, template=site.database)
    with psycopg.connect(databases.conninfo(site.control)) as session:
        session.execute(WITHOUT_A_NET)


def _manage(site: Site, command: tuple[str, ...]) -> None:
    """Run a command of manage.py as anybody would, with its progress on the terminal."""
    log = site.folder / f"{command[0]}.log"
    with log.open("w") as output:
        status = subprocess.run(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *command],
            stdout=output,
            check=False,
        ).returncode
    if status:
        raise DemoError(
            f"`manage.py {' '.join(command)}` ended with status {status}: its error stands above."
        )


def _copy(session: psycopg.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with session.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
