"""What is shipped: the containers' description and the package."""

import email
import re
import secrets
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery.bin.celery import celery
from click import Context
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    described: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return described


@pytest.fixture(scope="module")
def application(compose: dict[str, Any]) -> dict[str, Any]:
    """The services that run this project's own image."""
    return {name: of for name, of in compose["services"].items() if "build" in of}


def test_the_compose_file_follows_the_compose_specification() -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, "docker-compose.yml"],
        cwd=ROOT,
        check=True,
    )


def test_every_service_that_stays_has_a_health_check(compose: dict[str, Any]) -> None:
    staying = {name for name, of in compose["services"].items() if of.get("restart") != "no"}

    assert staying == {"db", "broker", "web", "worker", "beat"}
    assert all("healthcheck" in compose["services"][name] for name in staying)


def test_every_service_waits_for_one_that_exists(compose: dict[str, Any]) -> None:
    for of in compose["services"].values():
        assert set(of.get("depends_on", ())) <= set(compose["services"])


def test_every_documented_variable_reaches_the_containers_as_env_says_or_as_they_need_it(
    application: dict[str, Any],
) -> None:
    """Where `environment` has a variable as well, that is what a container gets."""
    documented = set(re.findall(r"(?m)^#?([A-Z_]+)=", (ROOT / ".env.example").read_text()))
    their_own = {
        "DATABASE_URL",
        "CELERY_BROKER_URL",
        "CELERY_BEAT_SCHEDULE_FILENAME",
        "PRODUCTION",
    }

    for of in application.values():
        assert of["env_file"] == [{"path": ".env", "required": False}]
        kept = {
            name
            for name, value in of["environment"].items()
            if not re.match(rf"\$\{{{name}:[-?]", str(value))
        }
        assert kept == their_own
        assert set(of["environment"]) <= documented


def test_containers_start_in_production_with_what_they_are_given(
    application: dict[str, Any],
) -> None:
    [environment] = {tuple(of["environment"].items()) for of in application.values()}
    given = {name: re.sub(r"\$\{\w+:?[-?](.*)\}", r"\1", str(value)) for name, value in environment}
    assert given["PRODUCTION"] == "true"
    subprocess.run(
        [sys.executable, "-c", "import django; django.setup()"],
        cwd=ROOT,
        env={**given, "DJANGO_SETTINGS_MODULE": "core.settings"},
        check=True,
    )


def test_a_production_that_sets_what_it_must_passes_every_check() -> None:
    """Django's for deployment and the ledger's; what it must set, `.env.example` says."""
    given = {
        "PRODUCTION": "true",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "DATABASE_URL": "postgres://user:password@db.example.com:5432/payroll",
        "CELERY_BROKER_URL": "amqp://user:password@broker.example.com:5672//",
    }
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**given, "DJANGO_SETTINGS_MODULE": "core.settings"},
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


def test_every_command_of_a_container_exists(application: dict[str, Any]) -> None:
    for of in application.values():
        program, *arguments = of["command"]
        match program:
            case "python":
                script, name, *options = arguments
                assert (ROOT / script).exists()
                load_command_class(get_commands()[name], name).create_parser(
                    script, name
                ).parse_args(options)
            case "celery":
                assert arguments[:2] == ["-A", "core"]
                name, *options = arguments[2:]
                command = celery.get_command(Context(celery), name)
                assert command is not None
                command.make_parser(Context(command)).parse_args(options)
            case "gunicorn":
                subprocess.run(
                    [sys.executable, "-m", "gunicorn", *arguments, "--check-config"],
                    cwd=ROOT,
                    check=True,
                )
            case _:
                pytest.fail(f"{program} is not known here")


def test_the_package_is_the_ledger_alone(tmp_path: Path) -> None:
    into = ["--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", *into],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [metadata_name] = [name for name in names if name.endswith("METADATA")]
        metadata = email.message_from_bytes(archive.read(metadata_name))

    folders = {name.split("/")[0] for name in names if ".dist-info" not in name}
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "ledger").rglob("*.sql")}
    assert folders == {"ledger"}
    assert shipped
    assert shipped | {"ledger/py.typed"} <= set(names)
    needs = [need for need in metadata.get_all("Requires-Dist") or [] if "extra ==" not in need]
    assert {re.split(r"[<>=]", need)[0] for need in needs} == {
        "celery",
        "django",
        "django-pgtrigger",
        "psycopg",
    }


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_in_full_and_name_no_source(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()

    pins = [line for line in lines if not line.lstrip().startswith("#")]
    assert all(re.match(r"[a-z0-9-]+==\S+", pin) for pin in pins)
    assert not re.search(r"://|^-|/(home|root|tmp|work)", "\n".join(lines), re.MULTILINE)
