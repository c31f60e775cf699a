"""A real browser on a real server: Chromium, as Debian's package or the system's own.

Where there is none these tests are skipped. Each page is watched: what the Content-Security-Policy
refused, and every error of a script, fails its test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visits import Visits
from tests.payroll.conftest import _workers  # noqa: F401
from tests.payroll.payments.conftest import _bank, bank, mailbox, payment, worker  # noqa: F401

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM:
        return
    skip = pytest.mark.skip(reason="no Chromium: `apt-get install chromium`, or your system's own")
    for item in items:
        if __package__ in getattr(item, "module", item).__name__:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the module, with a profile of its own that ends with it."""
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, in which Django would allow no query.
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=os.getuid() != 0,
            args=["--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def visits(browser: Browser, live_server: Any) -> Iterator[Visits]:
    """Opens the site in windows of their own; see ``Visits``."""
    visits = Visits(browser, live_server.url)
    yield visits
    visits.end()
    assert visits.complaints == []
