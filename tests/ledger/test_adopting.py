"""The hook and the line of CI that ``docs/adopting.md`` gives: run in a project of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
PRE_COMMIT = (sys.executable, "-m", "pre_commit")


class Project:
    """A Django project with one task, in a git repository."""

    FILES = {
        "manage.py": """
            import os, sys
            from django.core.management import execute_from_command_line
            os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
            execute_from_command_line(sys.argv)
            """,
        "shop/__init__.py": """
            from celery import Celery
            app = Celery("shop")
            app.config_from_object("django.conf:settings", namespace="CELERY")
            app.autodiscover_tasks()
            """,
        "shop/settings.py": """
            SECRET_KEY = "for this test only"
            USE_TZ = True
            INSTALLED_APPS = [
                "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.postgres",
                "pgtrigger", "ledger", "shop",
            ]
            DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql"}}
            CELERY_BROKER_URL = "redis://localhost"
            CELERY_TASK_ACKS_LATE = CELERY_TASK_REJECT_ON_WORKER_LOST = True
            """,
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in self.FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {
            **os.environ,
            "PATH": path,  # where "python" is this one
            "PYTHONPATH": str(ROOT),
            "PRE_COMMIT_HOME": str(self.folder.parent / "pre-commit"),
        }
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def documented(start: str) -> str:
    """The line of ``docs/adopting.md`` that begins so."""
    text = (ROOT / "docs" / "adopting.md").read_text()
    (line,) = {line.strip(" -") for line in text.splitlines() if line.strip(" -").startswith(start)}
    return line.removeprefix("run: ")


def test_the_documented_line_of_ci_fails_until_somebody_decides(project: Project) -> None:
    line = documented("run: python manage.py check").split()
    task = "def pay(employee_id): ...\n"
    shared = "from celery import shared_task\n"
    project.write("shop/tasks.py", f"{shared}\n@shared_task\n{task}")
    checked = project.run(*line)
    assert checked.returncode == 1
    assert "shop/tasks.py:3: (ledger.W001) shop.tasks.pay" in checked.stderr

    ours = "from ledger import idempotent_task\n"
    project.write("shop/tasks.py", f"{shared}{ours}\n@shared_task\n@idempotent_task()\n{task}")
    checked = project.run(*line)
    assert checked.returncode == 0, checked.stderr


def test_the_hook_keeps_an_undecided_task_out_of_a_commit(project: Project, tmp_path: Path) -> None:
    hooks = Project(tmp_path / "hooks")
    shutil.copy(MANIFEST, hooks.folder)
    assert hooks.run(*PRE_COMMIT, "validate-manifest", MANIFEST.name).returncode == 0
    revision = commit_all(hooks)
    project.write(
        ".pre-commit-config.yaml",
        f"""
        repos:
          - repo: {hooks.folder}
            rev: {revision}
            hooks:
              - id: ledger-check
        """,
    )
    project.write(
        "shop/tasks.py", "from celery import shared_task\n\n@shared_task\ndef pay(): ...\n"
    )
    commit_all(project)

    refused = project.run(*PRE_COMMIT, "run", "--all-files")

    assert refused.returncode == 1
    assert "says why not" in refused.stdout
    assert "(ledger.W001) shop.tasks.pay" in refused.stdout, refused.stdout


def commit_all(project: Project) -> str:
    """The new commit's hash."""
    me = ("-c", "user.name=A test", "-c", "user.email=test@localhost", "-c", "core.hooksPath=none")
    for command in (("init", "-q"), ("add", "."), (*me, "commit", "-qm", "All of it")):
        assert project.run("git", *command).returncode == 0
    return project.run("git", "rev-parse", "HEAD").stdout.strip()
