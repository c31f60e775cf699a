"""Somebody's visit to the site, in a window of their own."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

LIST = "/admin/ledger/taskexecution/"
OVERVIEW = f"{LIST}overview/"


class Visits:
    """``visits("dana", "can_release")`` logs a member of staff in who may view executions and has
    these further permissions, and returns their page. Options are those of a browser's context:
    ``java_script_enabled``, ``color_scheme``, ``viewport``."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser = browser
        self.url = url
        self.complaints: list[str] = []
        self._contexts: list[BrowserContext] = []

    def __call__(self, name: str, *codenames: str, **options: Any) -> Page:
        page = self.stranger(**options)
        user, made = User.objects.get_or_create(username=name, is_staff=True)
        if made:
            wanted = {"view_taskexecution", *codenames}
            user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
            assert {each.codename for each in user.user_permissions.all()} == wanted
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"]
        page.context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": self.url}])
        return page

    def stranger(self, **options: Any) -> Page:
        """A page of somebody who is not logged in."""
        context = self.browser.new_context(base_url=self.url, **options)
        context.set_default_timeout(20_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("dialog", lambda dialog: self.complaints.append(f"{page.url}: {dialog.message}"))
        return page

    def findings(self, page: Page) -> list[str]:
        """What axe finds serious or critical on a page as it is, with the first elements
        concerned. The policy refuses some of what axe itself tries."""
        heard = list(self.complaints)
        found = Axe().run(page).response["violations"]
        self.complaints = heard
        return [
            f"{page.url}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def harm(self, page: Page) -> list[str]:
        """What a hostile value did to a page."""
        struck = ["a script ran"] if page.evaluate("window.struck") else []
        wide = ["the page scrolls sideways"] if scrolls_sideways(page) else []
        return struck + wide + self.findings(page)

    def _heard(self, message: ConsoleMessage) -> None:
        missing = message.text.startswith("Failed to load resource") and message.location["url"]
        if message.type == "error" and not str(missing).endswith("/favicon.ico"):
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def end(self) -> None:
        for context in self._contexts:
            context.close()


def scrolls_sideways(page: Page) -> bool:
    """Whether the page as a whole is wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))
