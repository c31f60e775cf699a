"""The newcomer's path: a wheel, a new environment, a new project, the README's lines, a crash.

Nothing of the checkout is in reach of that project; the servers are this test session's.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from kombu import Connection, Queue

from tests.newcomer import readme
from tests.workers import ROOT, wait_until

OFFLINE = re.compile(r"error sending request|dns error|[Cc]onnect(ion)? (refused|timed out)")

CELERY_PY = """
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""

MODELS_PY = """
import os
import signal
from pathlib import Path

from django.db import models


class Payslip(models.Model):
    employee_id = models.IntegerField()
    year = models.IntegerField()
    month = models.IntegerField()


def post_payslip(employee_id, year, month):
    payslip = Payslip.objects.create(employee_id=employee_id, year=year, month=month)
    killed = Path("killed")
    if not killed.exists():
        killed.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return payslip
"""

CALLS_PY = """
import json
import sys

import django
import shop
from celery.result import AsyncResult

django.setup()

import ledger
from payslips.models import Payslip
from payslips.tasks import process_payroll

results = []
for call in json.loads(sys.argv[1]):
    result = eval(call)
    results.append(result.get(timeout=60) if isinstance(result, AsyncResult) else result)
print(json.dumps({
    "results": results, "payslips": Payslip.objects.count(), "ledger": ledger.__file__
}))
"""


class Newcomer:
    """A folder outside of the checkout, with a virtual environment of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if name in kept or name.startswith(("UV_", "SSL_")) or name.lower().endswith("_proxy")
        }

    def run(self, *command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
        )
        if done.returncode and OFFLINE.search(done.stdout):
            pytest.skip(f"No package can be had from here: {done.stdout.strip()[-300:]}")
        assert not done.returncode, f"{command}\n{done.stdout}"
        return done.stdout

    def install(self, wheel: Path, *requirements: str) -> None:
        uv = (sys.executable, "-m", "uv")
        self.run(*uv, "venv", "--quiet", "--python", sys.executable, self.bin.parent)
        python = ("--python", self.bin / "python")
        self.run(*uv, "pip", "install", "--quiet", *python, wheel, *requirements)

    def manage(self, *arguments: str) -> str:
        return self.run(self.bin / "python", "manage.py", *arguments)


@pytest.fixture
def database() -> Iterator[dict[str, Any]]:
    """A new one on the session's server, as the newcomer's settings name it."""
    server = connection.settings_dict
    name = f"newcomer_{settings.TEST_RUN.replace('-', '_')}"
    login = {key: server[key] for key in ("USER", "PASSWORD", "HOST", "PORT")}
    known: dict[str, Any] = {key.lower(): str(value) for key, value in login.items() if value}
    with psycopg.connect(dbname="postgres", autocommit=True, **known) as session:
        session.execute(f'create database "{name}"')
        try:
            yield {"ENGINE": server["ENGINE"], "NAME": name, **login}
        finally:
            session.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def broker(broker: None) -> Iterator[dict[str, Any]]:
    """A corner of the session's broker, likewise."""
    queue = f"{settings.TEST_RUN}-newcomer"
    mine: dict[str, Any] = {
        "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
        "CELERY_RESULT_BACKEND": settings.CELERY_RESULT_BACKEND,
        "CELERY_TASK_DEFAULT_QUEUE": queue,
    }
    if settings.CELERY_BROKER_URL.startswith("redis"):
        corner = {"global_keyprefix": f"{settings.TEST_RUN}:newcomer:"}
        mine["CELERY_BROKER_TRANSPORT_OPTIONS"] = corner
        mine["CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS"] = corner
    else:
        mine["CELERY_BROKER_TRANSPORT_OPTIONS"] = {"confirm_publish": True}  # as a check asks for
    yield mine
    if not settings.CELERY_BROKER_URL.startswith("redis"):
        with Connection(settings.CELERY_BROKER_URL) as connection:
            Queue(queue).bind(connection.default_channel).delete()


@pytest.fixture
def newcomer(tmp_path: Path, database: dict[str, Any], broker: dict[str, Any]) -> Newcomer:
    """As far as the Django and Celery tutorials lead, with the ledger installed and set up."""
    newcomer = Newcomer(tmp_path / "newcomer")
    newcomer.folder.mkdir()
    newcomer.install(wheel(tmp_path), *readme.requirements())
    newcomer.run(newcomer.bin / "django-admin", "startproject", "shop", ".")
    newcomer.manage("startapp", "payslips")
    write = {
        "shop/celery.py": CELERY_PY,
        "shop/__init__.py": "from .celery import app as celery_app\n",
        "payslips/models.py": MODELS_PY,
        "payslips/tasks.py": f"{readme.task()}\n\n\nfrom .models import post_payslip\n",
        "calls.py": CALLS_PY,
    }
    for name, text in write.items():
        (newcomer.folder / name).write_text(text)
    given = {"DATABASES": {"default": database}, **broker}
    with (newcomer.folder / "shop" / "settings.py").open("a") as file:
        file.write('\nINSTALLED_APPS += ["payslips"]\n')
        file.writelines(f"{name} = {value!r}\n" for name, value in given.items())
        file.write(f"\n{readme.settings()}\n")
    newcomer.manage("makemigrations", "payslips")
    newcomer.manage("migrate")
    return newcomer


def wheel(folder: Path) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "ledger", source / "ledger", ignore=shutil.ignore_patterns("*.pyc"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(folder)], cwd=source, check=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.mark.timeout(300)
def test_a_new_project_that_follows_the_readme_survives_a_killed_worker(newcomer: Newcomer) -> None:
    newcomer.manage("check", "--fail-level", "WARNING")
    log = newcomer.folder / "worker.log"
    with log.open("w") as output:
        worker = subprocess.Popen(
            [newcomer.bin / "celery", "-A", "shop", "worker", "--loglevel", "INFO", "-c", "1"],
            cwd=newcomer.folder,
            env=newcomer.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: " ready." in log.read_text() or worker.poll() is not None)
        calls = json.dumps(readme.calls())
        said = json.loads(newcomer.run(newcomer.bin / "python", "calls.py", calls).splitlines()[-1])
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        print(log.read_text())

    assert (newcomer.folder / "killed").exists()
    assert "signal 9 (SIGKILL)" in log.read_text()
    first, *others = said["results"]
    assert len(others) == 2
    assert others == [first, first]
    assert said["payslips"] == 1
    assert Path(said["ledger"]).is_relative_to(newcomer.bin.parent)
