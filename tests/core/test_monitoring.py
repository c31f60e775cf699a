"""Dashboard and alert rules ask for what a scrape has, and say what to do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from ledger import alarms
from ledger.metrics.errors import ERRORS
from ledger.models import Tally
from tests.workers import ROOT

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
SELECTOR = re.compile(r"\b(ledger_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')


def rules() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return loaded


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "grafana" / "ledger.json").read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dashboard()["panels"]
    return found


def expressions() -> list[str]:
    asked = [rule["expr"] for rule in rules()]
    asked += [target["expr"] for panel in panels() for target in panel["targets"]]
    asked += [variable.get("definition", "") for variable in dashboard()["templating"]["list"]]
    return [expression for expression in asked if expression]


@pytest.fixture
def scraped(admin_client: Client) -> list[Metric]:
    Tally.objects.create(task_name="pay", outcome="completed", total=1)
    ERRORS.labels("pay", "unreachable")
    return list(text_string_to_metric_families(admin_client.get("/metrics").content.decode()))


def test_what_they_ask_for_is_in_a_scrape_with_those_labels(scraped: list[Metric]) -> None:
    samples = [sample for family in scraped for sample in family.samples]
    found = 0
    for expression in expressions():
        for name, selected in SELECTOR.findall(expression):
            for label, operator, value in [*MATCHER.findall(selected), ("__name__", "", "")]:
                wanted = value if operator == "=" else None
                assert any(
                    sample.name == name
                    and (label == "__name__" or label in sample.labels)
                    and wanted in (None, sample.labels.get(label))
                    for sample in samples
                ), f"{name} with {label}{operator}{value!r} is in no scrape: {expression}"
                found += 1
    assert found > 40


def test_all_that_is_scraped_is_shown(scraped: list[Metric]) -> None:
    shown = {name for expression in expressions() for name, _ in SELECTOR.findall(expression)}
    counted = {"counter": "_total"}
    assert {f"{family.name}{counted.get(family.type, '')}" for family in scraped} - shown == {
        "ledger_errors_created"
    }


def test_legends_name_labels_that_their_expressions_keep() -> None:
    for panel in panels():
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert f"by ({label})" in target["expr"], panel["title"]


def test_panels_do_not_overlap_and_fit_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_rules_are_what_the_command_prints() -> None:
    printed = StringIO()
    call_command("ledger", "alarms", stdout=printed)
    assert printed.getvalue() == RULES.read_text()


def test_each_alarm_has_a_section_on_what_to_do() -> None:
    text = (ROOT / alarms.RUNBOOK).read_text()
    sections = {
        title.lower(): body for title, body in re.findall(r"(?ms)^### (\w+)\n(.*?)(?=^#|\Z)", text)
    }
    assert {rule["alert"] for rule in rules()} == {alarm.name for alarm in alarms.ALARMS}
    for rule in rules():
        where, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert where == alarms.RUNBOOK
        for part in ("means", "Look at", "Press"):
            assert part in sections[anchor], f"{part} is missing for {rule['alert']}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Prometheus (Debian: prometheus)")
    ran = subprocess.run(
        [promtool, *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout + ran.stderr


def test_promtool_is_asked_about_every_alert() -> None:
    told = {
        rule["alertname"]
        for test in yaml.safe_load((RULES.parent / "alerts_test.yml").read_text())["tests"]
        for rule in test["alert_rule_test"]
        if rule["exp_alerts"]
    }
    assert told == {rule["alert"] for rule in rules()}
