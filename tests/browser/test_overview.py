"""The overview in a browser: at three widths, light and dark, without JavaScript, by keyboard."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from ledger import idempotent_task
from tests.browser.visits import LIST, OVERVIEW, Visits, scrolls_sideways

pytestmark = pytest.mark.django_db(transaction=True)


@idempotent_task(ttl_hours=None)
def pay(employee: int, note: str = "") -> Any:
    if employee < 0:
        raise ValueError(note)
    return {"employee": employee}


@pytest.fixture(autouse=True)
def history(transactional_db: None) -> None:
    for employee in (1, 2, 3, 1):
        pay(employee)
    with pytest.raises(ValueError, match="no"):
        pay(-1, "no")


def tile(page: Page, name: str) -> Any:
    return page.locator(".tiles > div", has=page.get_by_text(name, exact=True)).locator("dd").first


@pytest.mark.parametrize("width", [360, 820, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_any_width_all_of_it_can_be_reached_and_read(
    visits: Visits, width: int, scheme: str
) -> None:
    page = visits("ana", viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(OVERVIEW)
    expect(tile(page, "Executions")).to_have_text("4")
    expect(tile(page, "Duplicates prevented")).to_have_text("1")
    expect(page.get_by_role("img", name="Executions by outcome, per hour")).to_be_visible()
    bar = page.get_by_role("img", name="Executions by outcome").locator(".color-1 rect").last
    colour = bar.evaluate("bar => getComputedStyle(bar).fill")
    assert colour == {"light": "rgb(200, 68, 58)", "dark": "rgb(239, 122, 109)"}[scheme]
    left = bar.evaluate("bar => bar.getBoundingClientRect().left")
    assert left < width  # the newest is in view, also where the chart is wider than the page
    assert not scrolls_sideways(page)
    assert visits.findings(page) == []


def test_without_javascript_it_shows_the_same(visits: Visits) -> None:
    page = visits("ana", java_script_enabled=False)
    page.goto(LIST)
    page.get_by_role("link", name="Overview", exact=True).click()
    expect(tile(page, "Failed")).to_have_text("1")
    expect(page.get_by_role("img", name="Duplicates prevented, per hour")).to_be_visible()
    page.get_by_role("button", name="7 days").click()
    expect(page).to_have_url(re.compile(r"range=7d$"))
    page.get_by_text("The same per day, as a table").click()
    last = page.get_by_role("region", name="Executions and duplicates per day").locator("tr").last
    expect(last.locator("td")).to_have_text(["3", "1", "0", "0", "1"])
    expect(page.get_by_role("row", name=f"{__name__}.pay").get_by_role("cell")).to_contain_text(
        ["", "4", "3", "1", "0", "0", "1"]
    )


def test_any_range_is_chosen_by_keyboard_alone(visits: Visits) -> None:
    page = visits("ana")
    page.goto(OVERVIEW)
    page.get_by_label("Since").focus()
    page.keyboard.type("01012026")
    page.keyboard.press("Tab")
    page.keyboard.type("0100AM")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1 January 2026, 01:00 to")).to_be_visible()
    page.goto(f"{OVERVIEW}?until=2026-01-01T00:00")
    expect(page.get_by_text("Say since when")).to_be_visible()
    assert visits.findings(page) == []


def test_a_task_leads_to_its_executions(visits: Visits) -> None:
    page = visits("ana")
    page.goto(OVERVIEW)
    page.get_by_role("link", name=f"{__name__}.pay").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(4)


def test_it_is_refused_without_the_permission_to_view(visits: Visits) -> None:
    page = visits.stranger()
    assert page.goto(OVERVIEW)
    expect(page.get_by_label("Username")).to_be_visible()
    assert visits.findings(page) == []
