"""Serve all of it from one terminal: web, worker and beat, with an admin to log in as."""

import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection, connections
from honcho.manager import SIGNALS, Manager

from core.embedded import LOCAL
from payroll.bank.process import BankProcess

ADMIN = "admin"
ONE_IN = 100
"""Answers of the bank, of which one is lost."""


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the web server (8000)")
        parser.add_argument("--concurrency", type=int, default=2, help="worker processes (2)")

    def handle(self, *args: Any, port: int, concurrency: int, **options: Any) -> None:
        refuse_a_taken_port(port)
        self.stdout.write("Migrating the database…")
        call_command("migrate", verbosity=0)
        login = admin_login(local("admin-password"))
        connections.close_all()  # the processes below are forked and must not share them

        manager = Manager()
        with bank() as its_bank:
            for name, module in {
                "web": f"gunicorn core.wsgi --bind 127.0.0.1:{port} --workers 2 "
                "--access-logfile - --no-control-socket",
                "worker": f"celery --quiet -A core worker --concurrency {concurrency}",
                "beat": "celery --quiet -A core beat",
            }.items():  # after the bank, because honcho copies the environment here
                manager.add_process(name, f"exec {shlex.quote(sys.executable)} -m {module}")
            self.stdout.write(
                f"\n  http://localhost:{port}/admin/\n  {login}\n"
                f"\n  http://localhost:{port}/mailbox/ has the e-mails that it sends\n"
                f"  {its_bank}\n"
                "  manage.py seed_demo, in another terminal, gives you something to look at\n"
                "\n  Ctrl-C stops all of it.\n\n"
            )
            self.stdout.flush()
            signal.signal(signal.SIGHUP, stop_without_a_terminal)
            manager.loop()
        if manager.returncode not in {of["rc"] for of in SIGNALS.values()}:
            raise CommandError(
                "One of the processes ended by itself, so the others were stopped: "
                "its last lines stand above."
            )


@contextmanager
def bank() -> Iterator[str]:
    """What pays: the bank of BANK_URL, or one that runs meanwhile. That honours no keys, and loses
    an answer now and then, so that there are held payments to decide about."""
    if settings.BANK_URL:
        yield f"{settings.BANK_URL} is the bank"
        return
    with BankProcess(local("bank.jsonl")) as process:
        process.misbehave({"fault": "drop_after", "probability": 1 / ONE_IN})
        os.environ.update(BANK_URL=process.url, BANK_HONOURS_KEYS="false")
        yield f"{process.url}/book is its bank's, which loses one answer in {ONE_IN}"


def local(name: str) -> Path:
    """A file of this checkout that belongs to its database."""
    LOCAL.mkdir(exist_ok=True)
    return LOCAL / f"{connection.settings_dict['NAME']}-{name}"


def stop_without_a_terminal(*_: Any) -> None:
    """The terminal was closed: stop as on Ctrl-C, with nowhere left to say so."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


def refuse_a_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(
                f"Port {port} cannot be used ({error.strerror}). Choose another, as in "
                f"`make up PORT={port + 1}`."
            ) from error


def admin_login(remembered: Path) -> str:
    """Say how to log in. The first time the admin is made, with a generated password that is
    remembered for this checkout; a password that somebody set is never replaced.
    """
    users = get_user_model().objects
    admin = users.filter(username=ADMIN).first()
    if admin is None:
        password = secrets.token_urlsafe(12)
        remembered.parent.mkdir(exist_ok=True)
        remembered.touch(mode=0o600)
        remembered.write_text(password)
        users.create_superuser(ADMIN, password=password)
    elif not remembered.exists() or not admin.check_password(password := remembered.read_text()):
        return (
            f"user {ADMIN}, with the password that was set for it "
            f"(`manage.py changepassword {ADMIN}` sets another)"
        )
    return f"user {ADMIN}, password {password}"
