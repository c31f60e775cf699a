from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

Scrape = Callable[[], Mapping[str, float]]
TOKEN = "a-token-of-the-tests"


@pytest.fixture
def scrape(live_server: LiveServer, settings: Settings) -> Scrape:
    """A real scrape over HTTP: each sample's value by its name and labels, as
    ``ledger_holds_total{task=pay}``."""
    settings.LEDGER = {"METRICS_TOKEN": TOKEN}

    def samples() -> Mapping[str, float]:
        headers = {"Authorization": f"Bearer {TOKEN}", "Connection": "close"}
        answer = urllib3.request("GET", f"{live_server.url}/metrics", headers=headers)
        assert answer.status == 200
        return {
            sample.name + _shown(sample.labels): sample.value
            for family in text_string_to_metric_families(answer.data.decode())
            for sample in family.samples
        }

    return samples


def _shown(labels: Mapping[str, str]) -> str:
    shown = ",".join(f"{label}={value}" for label, value in sorted(labels.items()))
    return f"{{{shown}}}" if shown else ""
