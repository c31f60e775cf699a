"""One execution in a browser: found, read, exported, and decided about by who may."""

from __future__ import annotations

import csv
import re
import zipfile
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from ledger import idempotent_task
from ledger.models import ExecutionEvent, TaskExecution
from ledger.testing import Worker
from payroll.bank.process import BankProcess
from payroll.models import Payment
from payroll.tasks import financial_transaction, process_payroll
from tests.browser.visits import LIST, OVERVIEW, Visits
from tests.payroll.company import employee_with_week
from tests.payroll.payments.scene import booked, in_the_books, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = {"BANK_HONOURS_KEYS": "false", "BANK_TIMEOUT": "30"}
DECIDE = ("can_release", "can_run_again", "can_view_values")


@idempotent_task(ttl_hours=None)
def pay(employee: int, note: Any = "") -> Any:
    if employee < 0:
        raise ValueError(note)
    return {"employee": employee, "note": note}


@idempotent_task(guarantee="at_most_once")
def wire(number: int) -> None:
    raise OSError("in doubt")


def detail(execution: TaskExecution) -> str:
    return reverse("admin:ledger_taskexecution_change", args=[execution.pk])


def test_who_logs_in_finds_a_run_by_an_argument_and_reads_its_story(
    visits: Visits, django_user_model: Any
) -> None:
    for employee in (1, 2, 2, 3):
        pay(employee)
    django_user_model.objects.create_superuser("boss", password="secret")
    page = visits.stranger()
    page.goto(LIST)
    page.get_by_label("Username").fill("boss")
    page.get_by_label("Password").fill("secret")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    assert visits.findings(page) == []

    page.locator("#searchbar").fill("employee=2")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list tbody th a").click()
    story = page.get_by_role("region", name="What happened")
    expect(story).to_contain_text("completed")
    expect(story).to_contain_text("duplicate")
    expect(page.get_by_role("region", name="Values")).to_contain_text('"employee": 2')
    assert visits.findings(page) == []


def test_a_held_payment_is_released_with_a_reason_and_a_worker_finishes_it(
    visits: Visits, worker: Worker, bank: BankProcess, payment: Payment
) -> None:
    bank.misbehave({"fault": "drop_before", "count": 1})
    financial_transaction.delay(payment.pk)
    wait_for(payment, "held")
    assert booked(bank, payment) == 0

    page = visits("dana", *DECIDE)
    page.goto(OVERVIEW)
    page.locator(".tiles > div", has_text="for a person to decide").get_by_role("link").click()
    page.locator("#result_list tbody th a").click()
    expect(page.get_by_role("region", name="What happened")).to_contain_text("held")
    expect(page.get_by_role("region", name="Values")).to_contain_text("not answered")
    assert visits.findings(page) == []

    page.get_by_role("link", name="Release…").click()
    page.get_by_label("It took no effect").check()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_label("Reason")).to_be_focused()  # which the browser asks for
    assert visits.findings(page) == []
    page.get_by_label("Reason").fill("the bank has no such reference")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_text("1 released.")).to_be_visible()

    page.get_by_role("link", name="Run again now…").click()
    expect(page.get_by_text("for attempt 2")).to_be_visible()
    page.get_by_label("Reason").fill("so that Dana gets her money")
    page.get_by_role("button", name="Run again now").click()
    wait_for(payment, "completed")
    assert (booked(bank, payment), in_the_books(payment)[0]) == (1, "sent")

    page.reload()
    story = page.get_by_role("region", name="What happened")
    for told in ("by dana", "the bank has no such reference", "so that Dana gets her money"):
        expect(story).to_contain_text(told)
    expect(page.locator(".ledger-headline")).to_contain_text("completed")


def test_of_two_who_release_the_same_execution_at_once_one_wins_and_the_other_is_told(
    visits: Visits,
) -> None:
    with pytest.raises(OSError, match="in doubt"):
        wire(7)
    execution = TaskExecution.objects.get()
    people = {"ana": "It took effect", "kim": "It took no effect"}
    pages = {name: visits(name, "can_release") for name in people}
    for name, page in pages.items():
        page.goto(detail(execution))
        page.get_by_role("link", name="Release…").click()
        page.get_by_label(people[name]).check()
        page.get_by_label("Reason").fill(f"{name} asked the bank")
    for page in pages.values():
        page.get_by_role("button", name="Release").click(no_wait_after=True)

    for page in pages.values():
        expect(page.locator(".messagelist")).to_contain_text("released")
    event = ExecutionEvent.objects.get(kind="released")
    winner, loser = pages.pop(event.actor), next(iter(pages.values()))
    expect(winner.get_by_text("1 released.")).to_be_visible()
    expect(loser.get_by_text("Not released: ")).to_contain_text(re.compile("has changed|decided"))
    for page in (winner, loser):
        page.goto(detail(execution))
        story = page.get_by_role("region", name="What happened")
        expect(story).to_contain_text(f"{event.actor} asked the bank")
        expect(page.get_by_role("link", name="Release…")).to_have_count(0)
    execution.refresh_from_db()
    assert execution.state == ("completed" if event.actor == "ana" else "failed")


def test_without_the_permission_nothing_is_offered_decided_or_shown(visits: Visits) -> None:
    with pytest.raises(ValueError, match="salary"):
        pay(-1, "salary")
    execution = TaskExecution.objects.get()
    page = visits("eve")
    page.goto(detail(execution))
    expect(page.get_by_role("list", name="Decisions")).to_have_count(0)
    expect(page.get_by_role("region", name="Values")).to_contain_text("Hidden")
    assert "salary" not in page.content()
    for verb in ("release", "clear", "run_again", "recover"):
        answer = page.goto(f"{reverse('admin:ledger_decide', args=[verb])}?ids={execution.pk}")
        assert answer.status == 403
    # A 403 is an error to the console.
    visits.complaints = [one for one in visits.complaints if "403" not in one]


def test_a_filtered_list_is_exported(visits: Visits) -> None:
    pay(1, "=1+1")
    with pytest.raises(ValueError, match="no"):
        pay(-1, "no")
    page = visits("ana", "can_view_values", accept_downloads=True)
    page.goto(f"{LIST}?state=completed")

    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
        [exported] = csv.DictReader(file)
    assert exported["state"] == "completed"
    assert not any(cell.startswith("=") for cell in exported.values())

    with page.expect_download() as download:
        page.get_by_role("link", name="Export XLSX").click()
    assert re.fullmatch(r"executions-\d{4}-\d\d-\d\d\.xlsx", download.value.suggested_filename)
    titles, row = texts(download.value.path())
    assert "arguments" in titles
    assert "completed" in row
    assert '{"note": "=1+1", "employee": 1}' in row  # as text, which a formula would not be


XML = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def texts(path: Any) -> list[list[str]]:
    """What stands as text in the cells of a workbook's one sheet, row by row."""
    with zipfile.ZipFile(path) as book:
        root = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows = root.iter(f"{XML}row")
    return [[text.text or "" for text in row.iter(f"{XML}t")] for row in rows]


def test_an_accountant_who_knows_a_name_finds_what_ran_for_her(visits: Visits) -> None:
    dana = employee_with_week(name="Dana Weber")
    process_payroll(dana.pk, 2025, 10)
    page = visits("ana", "can_view_values", "view_employee", "view_payslip")
    page.goto("/admin/payroll/employee/?q=Dana")
    page.locator("#result_list tbody th a").click()
    ran = page.locator(".field-called_with")
    expect(ran).to_contain_text("completed payroll.tasks.process_payroll year=2025, month=10, ")
    ran.get_by_role("link").click()
    expect(page.get_by_text("It took effect.")).to_be_visible()
    page.get_by_role("region", name="What it wrote").get_by_role("link").first.click()
    expect(page.locator(".field-written_by")).to_contain_text("payroll.tasks.process_payroll")
    page.locator(".field-employee").get_by_role("link").click()
    expect(ran).to_be_visible()


HOSTILE = {
    "markup": "</script><script>window.struck = 1</script><img src=x onerror='window.struck = 1'>",
    "formula": "=cmd|' /C calc'!A0",
    "template": "{{ 7*7 }}{% now 'Y' %}",
    "emoji": "👩‍👩‍👧‍👦 \u202e",
    "nul": "a\x00b",
    "long": "x" * 100_000,
}


@pytest.mark.parametrize("width", [360, 1440])
def test_hostile_values_are_shown_as_text_in_every_field(visits: Visits, width: int) -> None:
    pay(1, HOSTILE)
    for value in HOSTILE.values():
        with suppress(ValueError):
            pay(-1, value)
    page = visits(
        HOSTILE["markup"][:150],
        *("can_view_values", "can_clear"),
        viewport={"width": width, "height": 800},
    )
    page.goto(LIST)
    assert visits.harm(page) == []
    for execution in TaskExecution.objects.all():
        page.goto(detail(execution))
        assert visits.harm(page) == []
    page.goto(f"{reverse('admin:ledger_decide', args=['clear'])}?ids={execution.pk}")
    page.get_by_label("Reason").fill(HOSTILE["markup"])
    assert visits.harm(page) == []
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("region", name="What happened")).to_contain_text(HOSTILE["markup"])
    assert visits.harm(page) == []
    page.goto(OVERVIEW)
    assert visits.harm(page) == []
    page.goto(f"{LIST}?q=" + "%3Cscript%3Ewindow.struck=1%3C/script%3E")
    assert visits.harm(page) == []


def test_without_javascript_an_execution_is_found_and_decided_about(visits: Visits) -> None:
    with pytest.raises(ValueError, match="no"):
        pay(-1, "no")
    page = visits("dana", "can_clear", java_script_enabled=False)
    page.goto(LIST)
    page.locator("#result_list tbody th a").click()
    page.get_by_role("link", name="Clear…").click()
    page.get_by_label("Reason").fill("asked twice")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("1 cleared.")).to_be_visible()
    assert TaskExecution.objects.get().retired_reason == "cleared: asked twice"
