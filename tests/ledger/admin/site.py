"""The admin's pages, as a browser asks for them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.test import Client
from django.urls import reverse

from ledger.models import TaskExecution

LIST = reverse("admin:ledger_taskexecution_changelist")


@contextmanager
def unguarded() -> Iterator[None]:
    """Rows may be made what they could not become, as by somebody who owns the tables."""
    with connection.cursor() as cursor:
        cursor.execute("alter table ledger_taskexecution disable trigger user")
        yield
        cursor.execute("alter table ledger_taskexecution enable trigger user")


def text_of(page: str) -> str:
    """What a page shows to read, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def listed(client: Client, **query: str) -> str:
    """The list's HTML, as filtered."""
    response = client.get(LIST, query)
    assert response.status_code == 200, response
    return response.content.decode()


def ids(page: str) -> list[int]:
    """The executions that a list shows, in its order."""
    found = re.findall(r'name="_selected_action" value="(\d+)"', page)
    return [int(id) for id in found or re.findall(r"taskexecution/(\d+)/change/", page)]


def detail(execution: TaskExecution) -> str:
    return reverse("admin:ledger_taskexecution_change", args=[execution.pk])


def shown(client: Client, execution: TaskExecution) -> str:
    """An execution's page."""
    response = client.get(detail(execution))
    assert response.status_code == 200, response
    return response.content.decode()


def deciding(verb: str, *executions: TaskExecution, **query: str) -> str:
    """The address of the page that asks for confirmation."""
    query["ids"] = ",".join(str(execution.pk) for execution in executions)
    return f"{reverse('admin:ledger_decide', args=[verb])}?{urlencode(query)}"


def seen(page: str) -> list[str]:
    """What that page would send back as seen."""
    return re.findall(r'name="seen" value="([^"]+)"', page)


def told(response: Any) -> str:
    """The messages of the page that a form leads to."""
    found = re.search(r'<ul class="messagelist">(.*?)</ul>', response.content.decode(), re.DOTALL)
    return text_of(found.group(1)) if found else ""
