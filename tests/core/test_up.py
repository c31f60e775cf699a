"""``make up`` serves the whole application, and leaves nothing of it running."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener, urlopen

import psutil
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection

from core.embedded import LOCAL
from core.management.commands.up import admin_login
from core.tasks import health_check
from payroll.tasks import process_payroll
from tests.core.operations import rows
from tests.payroll.company import employee_with_week
from tests.workers import ROOT, Workers, process_environment, wait_until


class Up:
    """The command, running, with what it has printed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", str(self.port)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=process_environment()
                | {
                    "CELERY_BEAT_SCHEDULE_FILENAME": str(folder / "beat"),
                    "EMAIL_URL": f"filemail:///{folder}/mail",
                },
            )
        try:
            signs = ("beat: Starting", "Booting worker", " ready.")
            wait_until(lambda: all(sign in self.said for sign in signs), what=f"all of {signs}")
            self.services = {
                name: int(pid)
                for name, pid in re.findall(r"(\w+) started \(pid=(\d+)\)", self.said)
            }
            self.family = psutil.Process(self.process.pid).children(recursive=True)
        except BaseException:
            self.process.terminate()
            raise

    @property
    def said(self) -> str:
        return self.log.read_text()

    def everything_ended(self) -> bool:
        return not psutil.wait_procs(self.family, timeout=90)[1]


@pytest.fixture
def up(workers: Workers, tmp_path: Path) -> Iterator[Up]:
    remembered = LOCAL / f"{connection.settings_dict['NAME']}-admin-password"
    running = Up(tmp_path)
    try:
        yield running
    finally:
        for process in running.family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        running.process.kill()
        running.process.wait()
        remembered.unlink(missing_ok=True)
        remembered.with_name(f"{connection.settings_dict['NAME']}-bank.jsonl").unlink(
            missing_ok=True
        )


def test_the_printed_login_opens_the_admin_and_ctrl_c_stops_all(up: Up) -> None:
    site = f"http://localhost:{up.port}"
    assert urlopen(f"{site}/healthz").status == 200
    assert urlopen(f"{site}/static/admin/css/base.css").status == 200

    page = log_in(up, build_opener(HTTPCookieProcessor(CookieJar())))

    assert page.url == f"{site}/admin/"
    assert "Log out" in page.read().decode()
    [bank] = re.findall(r"(http://\S+/book) is its bank's", up.said)
    assert json.load(urlopen(bank))["counts"] == {}
    os.killpg(up.process.pid, signal.SIGINT)
    assert up.process.wait(90) == 0
    assert up.everything_ended()


def log_in(up: Up, browser: OpenerDirector) -> Any:
    """As somebody does who reads what it printed; the page that follows."""
    site = f"http://localhost:{up.port}"
    [[user, password]] = re.findall(r"user (\w+), password (\S+)", up.said)
    form = browser.open(f"{site}/").read().decode()
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    filled = {"username": user, "password": password, "csrfmiddlewaretoken": token}
    return browser.open(f"{site}/admin/login/?next=/admin/", urlencode(filled).encode())


def test_the_schedule_runs_and_an_alert_arrives_on_the_page_that_it_names(up: Up) -> None:
    [page] = re.findall(r"http://localhost:\d+/mailbox/", up.said)
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    log_in(up, browser)
    rows.dead_letter()
    health_check.delay()

    wait_until(lambda: "Messages have failed for good." in browser.open(page).read().decode())
    wait_until(lambda: "Sending due task publish follow-ups" in up.said, what="beat's first task")


def test_its_worker_sends_what_follows_a_payslip_to_its_bank(up: Up) -> None:
    [bank] = re.findall(r"(http://\S+/book) is its bank's", up.said)
    process_payroll.delay(employee_with_week(iban="DE89370400440532013000").pk, 2025, 10)

    wait_until(lambda: json.load(urlopen(bank))["counts"], what="a booking")


def test_closing_the_terminal_stops_all(up: Up) -> None:
    up.process.send_signal(signal.SIGHUP)

    assert up.process.wait(90) == 0
    assert up.everything_ended()


@pytest.mark.parametrize("name", ["web", "worker", "beat"])
def test_if_one_process_dies_the_others_stop_and_it_says_so(up: Up, name: str) -> None:
    os.kill(up.services[name], signal.SIGKILL)

    assert up.process.wait(90) == 1
    assert up.everything_ended()
    assert f"{name} stopped (rc=-9)" in up.said
    assert "One of the processes ended by itself" in up.said


def test_a_taken_port_is_refused_before_anything_happens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} cannot be used.*PORT={port + 1}"):
            call_command("up", port=port)


@pytest.mark.django_db
def test_the_same_login_is_printed_again(tmp_path: Path) -> None:
    first = admin_login(tmp_path / "password")

    assert admin_login(tmp_path / "password") == first
    assert (tmp_path / "password").stat().st_mode & 0o077 == 0


@pytest.mark.django_db
def test_a_password_that_somebody_set_is_kept_and_not_printed(tmp_path: Path) -> None:
    admin_login(tmp_path / "password")
    admin = get_user_model().objects.get(username="admin")
    admin.set_password("chosen")
    admin.save()

    assert "changepassword" in admin_login(tmp_path / "password")

    admin.refresh_from_db()
    assert admin.check_password("chosen")
