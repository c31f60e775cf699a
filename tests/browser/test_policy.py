"""The Content-Security-Policy: every page works under it, and it refuses what it is for."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import expect

from tests.browser.visits import OVERVIEW, Visits

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_page_of_the_site_works_under_the_policy(visits: Visits) -> None:
    User.objects.create_superuser("boss", is_staff=True)
    page = visits("boss")
    for address in ("admin:index", "admin:password_change"):
        page.goto(reverse(address))
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        page.goto(reverse(f"{name}_changelist"))
        if page.locator(".object-tools .addlink").count():
            page.goto(reverse(f"{name}_add"))
    assert page.url.startswith(visits.url)  # the fixture fails what the browser complained of


def test_an_inline_handler_is_refused_and_noticed(visits: Visits) -> None:
    page = visits("ana")
    page.goto(OVERVIEW)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p onclick=\"alert(1)\">x</p>')")
    page.locator("body > p").dispatch_event("click")
    expect(page.locator("body > p")).to_have_text("x")
    [complaint] = visits.complaints
    assert "Content Security Policy" in complaint
    visits.complaints.clear()
