"""Settings: from the environment, every variable documented, and no unsafe production."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from core.embedded import LOCAL, PostgreSQL, Valkey

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "core" / "settings.py"
SAFE = {
    "PRODUCTION": "true",
    "SECRET_KEY": "x" * 50,
    "DATABASE_URL": "postgres://payroll:secret@db:5433/payroll",
    "CELERY_BROKER_URL": "amqp://user:secret@broker//",
}


def variables_read() -> set[str]:
    return set(re.findall(r'\benv\.\w+\(\s*"(\w+)"', SETTINGS.read_text()))


@pytest.fixture
def settings_from(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the settings module with these variables and no others, and return its names."""
    monkeypatch.setattr("environ.Env.read_env", lambda *_, **__: None)
    for name in variables_read():
        monkeypatch.delenv(name, raising=False)

    def run(**variables: str) -> dict[str, Any]:
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(name, value)
            return runpy.run_path(str(SETTINGS))

    return run


def test_every_variable_is_documented_and_no_other() -> None:
    documented = re.findall(r"(?m)^#?([A-Z_]+)=", (ROOT / ".env.example").read_text())

    assert len(documented) > 10
    assert sorted(documented) == sorted(variables_read())


def test_the_documented_values_are_those_that_hold_without_them(settings_from: Any) -> None:
    def values(**variables: str) -> dict[str, Any]:
        return {name: value for name, value in settings_from(**variables).items() if name.isupper()}

    servers = {"DATABASE_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CACHE_URL"}
    documented = re.findall(r"(?m)^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text())
    for name, value in documented:
        if name not in servers:
            assert values(**{name: value.replace(".local/", f"{LOCAL}/")}) == values(), name


def test_without_variables_both_servers_are_embedded(settings_from: Any) -> None:
    settings = settings_from()

    assert settings["EMBEDDED_SERVERS"] == ["postgresql", "valkey"]
    database = settings["DATABASES"]["default"]
    assert database["OPTIONS"]["host"] == str(PostgreSQL(LOCAL).socket_folder)
    assert settings["CELERY_BROKER_URL"] == Valkey(LOCAL).url(0)
    assert settings["CELERY_RESULT_BACKEND"] == Valkey(LOCAL).url(0)
    assert settings["CACHES"]["default"]["LOCATION"] == Valkey(LOCAL).cache_url(1)


def test_a_url_replaces_its_embedded_server_alone(settings_from: Any) -> None:
    settings = settings_from(DATABASE_URL="postgres://payroll:secret@db:5433/payroll")

    assert settings["EMBEDDED_SERVERS"] == ["valkey"]
    database = settings["DATABASES"]["default"]
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db", 5433, "payroll")


@pytest.mark.parametrize(
    ("broker", "cache"),
    [
        ("redis://redis:6379/3", "redis://redis:6379/4"),
        ("redis://redis:6379", "redis://redis:6379/1"),
        ("redis://redis:6379/", "redis://redis:6379/1"),
        ("rediss://:p%2F@redis/0?ssl_cert_reqs=none", "rediss://:p%2F@redis/1?ssl_cert_reqs=none"),
    ],
)
def test_the_cache_never_shares_the_brokers_database(
    settings_from: Any, broker: str, cache: str
) -> None:
    settings = settings_from(CELERY_BROKER_URL=broker)

    assert settings["CACHES"]["default"]["LOCATION"] == cache
    assert settings["CELERY_RESULT_BACKEND"] == broker


def test_rabbitmq_needs_no_redis(settings_from: Any) -> None:
    settings = settings_from(CELERY_BROKER_URL="amqp://user:secret@broker//")

    assert settings["CACHES"]["default"]["BACKEND"].endswith("LocMemCache")
    assert settings["CELERY_RESULT_BACKEND"] == "rpc://"
    assert "visibility_timeout" not in settings["CELERY_BROKER_TRANSPORT_OPTIONS"]


def test_no_task_outlives_the_visibility_timeout(settings_from: Any) -> None:
    settings = settings_from()

    visible_again = settings["CELERY_BROKER_TRANSPORT_OPTIONS"]["visibility_timeout"]
    assert settings["CELERY_TASK_SOFT_TIME_LIMIT"] < settings["CELERY_TASK_TIME_LIMIT"]
    assert settings["CELERY_TASK_TIME_LIMIT"] < min(visible_again, 1800)


def test_a_pool_replaces_persistent_connections(settings_from: Any) -> None:
    database = settings_from(DATABASE_POOL="true")["DATABASES"]["default"]

    assert database["OPTIONS"]["pool"] is True
    assert database["CONN_MAX_AGE"] == 0


def test_a_safe_production_starts(settings_from: Any) -> None:
    settings = settings_from(**SAFE)

    assert settings["EMBEDDED_SERVERS"] == []
    assert settings["SESSION_COOKIE_SECURE"]
    assert settings["LOG_FORMAT"] == "json"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY is"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is"),
        ({"DEBUG": "true"}, "DEBUG shows"),
        ({"DATABASE_URL": None}, "set DATABASE_URL"),
        ({"CELERY_BROKER_URL": None}, "set CELERY_BROKER_URL"),
    ],
)
def test_an_unsafe_production_does_not_start(
    settings_from: Any, broken: dict[str, str | None], reason: str
) -> None:
    variables = {name: value for name, value in (SAFE | broken).items() if value is not None}

    with pytest.raises(ImproperlyConfigured, match=reason) as refused:
        settings_from(**variables)

    assert str(refused.value).count("\n  - ") == 1


def test_all_that_is_unsafe_is_said_at_once(settings_from: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        settings_from(PRODUCTION="true", DEBUG="true")

    assert str(refused.value).count("\n  - ") == 4
