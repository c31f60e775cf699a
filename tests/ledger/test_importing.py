"""A process that has not met the tasks, as a web process, answers as one that has."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery, signals
from celery.contrib.testing.app import setup_default_app
from django.conf import settings
from django.db import connection
from django.urls import clear_script_prefix, get_script_prefix, set_script_prefix

from ledger import LedgerError, make_idempotency_key
from ledger.models import State, TaskExecution
from ledger.protection import find
from tests.ledger.admin.site import unguarded
from tests.ledger.marks import commits
from tests.ledger.threads import at_once
from tests.testapp.protected import add, unbound
from tests.workers import process_environment

WEB = """
import json, sys
from django.core.wsgi import get_wsgi_application
get_wsgi_application()
import core.urls, ledger
assert "tests.testapp.protected" not in sys.modules
release, name, held = sys.argv[1:]
if release == "release":
    ledger.release(held, "completed", reason="it was booked")
else:
    call = {"task_name": name, "kwargs": {"y": 2, "x": 1, "key": "k"}}
    print(json.dumps([
        ledger.make_idempotency_key(**call),
        ledger.check_idempotency_status(**call)["result"],
        ledger.clear_idempotency_key(**call),
    ]))
"""


def web(*arguments: str) -> str:
    """What a process says that has its settings, its URLs and its admin, and nothing more."""
    asked = subprocess.run(
        [sys.executable, "-c", WEB, *arguments],
        env=process_environment(),
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 0, asked.stderr
    return asked.stdout


@commits
def test_a_web_process_knows_a_call_by_the_key_that_its_worker_gave_it() -> None:
    add(1, 2, "k")
    key, result, cleared = json.loads(web("ask", add.name, ""))
    row = TaskExecution.objects.get()
    assert (key, result, cleared) == (row.key, 3, True)
    assert row.retired_at is not None


@commits
def test_what_a_web_process_releases_is_recognised_for_the_tasks_ttl() -> None:
    with connection.cursor() as cursor:
        key = make_idempotency_key(unbound.name, ["k"])
        cursor.execute(
            "select ledger_claim(%s, %s, '', '{}', null, 'at_most_once', '', '', '', 3, false)",
            [key, unbound.name],
        )
    with unguarded():
        TaskExecution.objects.update(state=State.HELD)
    web("release", unbound.name, key)
    row = TaskExecution.objects.get()
    assert row.state == State.COMPLETED
    assert row.completed_at is not None
    assert row.expires_at == row.completed_at + dt.timedelta(hours=24)


MODULE = """
from celery import shared_task
from ledger import idempotent_task, make_idempotency_key
{first}
@shared_task
@idempotent_task()
def pay(employee, month=11): ...
"""


class Module:
    """A module of a task that the workers of the current app import, and nobody else has."""

    def __init__(self, folder: Path) -> None:
        self.name = f"tasks_{uuid4().hex}"
        self.task = f"{self.name}.pay"
        self._path = folder / f"{self.name}.py"
        self.begins_with("")

    def begins_with(self, first: str) -> None:
        self._path.write_text(MODULE.format(first=first))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("CELERY_SKIP_CHECKS", raising=False)
    module = Module(tmp_path)
    app = Celery("importing", set_as_current=False, config_source={"imports": [module.name]})
    with setup_default_app(app):  # puts back what was
        app.set_current()
        app.set_default()  # which threads go by
        yield module


def test_tasks_are_imported_once_and_nothing_else_is_done(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else: no checks are run, and Django is what it was to the request that asks."""
    monkeypatch.setattr("django.core.checks.run_checks", lambda: pytest.fail("checks were run"))
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    set_script_prefix("/office/")
    imports: list[object] = []

    def note(**_: object) -> None:
        imports.append(get_script_prefix())

    signals.import_modules.connect(note)
    try:
        by_name = make_idempotency_key(module.task, kwargs={"employee": 7})
        assert by_name == make_idempotency_key(module.task, [7, 11])
        assert find("no_such_task") is None
        assert len(imports) == 1
        assert handler in logging.root.handlers
        assert get_script_prefix() == "/office/"
        assert "CELERY_SKIP_CHECKS" not in os.environ
        assert settings.LOGGING_CONFIG
    finally:
        signals.import_modules.disconnect(note)
        clear_script_prefix()
        logging.root.removeHandler(handler)


def test_tasks_that_cannot_be_imported_are_told_of_and_tried_again(module: Module) -> None:
    module.begins_with("raise OSError('no library')")
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"no library.*ledger\.E008"):
            make_idempotency_key(module.task, [7])
    module.begins_with("")
    assert find(module.task) is not None


def test_a_module_that_asks_while_it_is_imported_gets_an_answer(module: Module) -> None:
    module.begins_with("KEY = make_idempotency_key('elsewhere', [7])")
    assert find(module.task) is not None


def test_a_name_of_no_task_is_told_of_and_its_key_made_of_what_is_given(
    module: Module, caplog: pytest.LogCaptureFixture
) -> None:
    make_idempotency_key(module.task, [7])
    assert not caplog.records
    one = make_idempotency_key("of.a.typo", [7, 11])
    assert one != make_idempotency_key("of.a.typo", [7], {"month": 11})
    assert caplog.text.count("of.a.typo is no task under the ledger") == 2


@commits
def test_threads_that_ask_at_once_all_know(module: Module) -> None:
    keys = at_once(4, lambda _: make_idempotency_key(module.task, [7]))
    assert set(keys) == {make_idempotency_key(module.task, kwargs={"employee": 7})}
    assert "CELERY_SKIP_CHECKS" not in os.environ
    assert settings.LOGGING_CONFIG
