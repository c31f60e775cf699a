"""The pictures of the README: ``make screenshots`` writes them to ``docs/images/``.

A day of a real payroll is run for them, by a real worker against a real bank, with the ledger's
clock moved from hour to hour; one payslip fails, and one payment's answer is lost.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import ViewportSize

from ledger.models import OutboxMessage, State, TaskExecution
from ledger.testing import Clock, Worker
from payroll.bank.process import BankProcess
from payroll.tasks import process_payroll
from tests.browser.visits import LIST, OVERVIEW, Visits
from tests.payroll.company import OCTOBER, employee_with_week
from tests.payroll.payments.conftest import IBAN
from tests.workers import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

SETTINGS = {"BANK_HONOURS_KEYS": "false", "BANK_TIMEOUT": "30"}
IMAGES = Path(__file__).parents[2] / "docs" / "images"
WINDOW = ViewportSize(width=1280, height=900)
EVERYTHING = ("can_view_values", "can_release", "can_clear", "can_run_again", "can_recover")


def test_the_readme_has_its_pictures(
    visits: Visits, worker: Worker, bank: BankProcess, ledger_clock: Clock
) -> None:
    chance = random.Random(2025)
    ledger_clock.forward(hours=-23)
    asked = 0
    for hour in range(24):
        ids = [
            employee_with_week(hours=chance.randint(4, 9), iban=IBAN, email=f"{n}@example.com").pk
            for n in range(chance.randint(6, 9) if 8 <= hour <= 17 else chance.randint(1, 3))
        ]
        if hour % 6 == 4:
            ids.append(10_000 + hour)  # whom nobody knows: a failure
        if hour == 15:
            bank.misbehave({"fault": "drop_after", "count": 1})
        for employee_id in ids:
            for _ in range(chance.choice([1, 1, 1, 2])):
                process_payroll.delay(employee_id, OCTOBER.year, OCTOBER.month)
        asked += len(ids)
        wait_until(partial(over, asked), what=f"the end of hour {hour}")
        ledger_clock.forward(hours=1)
    ledger_clock.back()
    held = TaskExecution.objects.get(state=State.HELD)

    IMAGES.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        page = visits("dana", *EVERYTHING, color_scheme=scheme, viewport=WINDOW)
        picture(page, OVERVIEW, f"overview-{scheme}", full_page=True)
    page = visits("dana", *EVERYTHING, color_scheme="light", viewport=WINDOW)
    page.set_viewport_size(ViewportSize(width=1720, height=900))  # all of its columns
    picture(page, LIST, "list")
    page.set_viewport_size(WINDOW)
    picture(page, reverse("admin:ledger_taskexecution_change", args=[held.pk]), "detail")
    page.get_by_role("link", name="Release…").click()
    page.get_by_label("It took effect").check()
    page.get_by_role("textbox", name="Result").fill('{"bank_number": 47}')
    page.get_by_label("Reason").fill("The bank has booked it as number 47.")
    picture(page, "", "release")


def over(asked: int) -> bool:
    """Whether so many payslips, and all that follows from them, came to an end."""
    ended = TaskExecution.objects.exclude(state=State.RUNNING)
    payslips = ended.filter(task_name=process_payroll.name).count()
    return payslips == asked and ended.count() - payslips == OutboxMessage.objects.count()


def picture(page: Any, address: str, name: str, **options: Any) -> None:
    if address:
        page.goto(address)
    page.screenshot(path=IMAGES / f"{name}.png", **options)
