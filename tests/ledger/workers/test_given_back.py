"""``acks_on_timeout=False``: a run killed at its time limit comes again, until it is held."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ledger.workers.site import Site, effects, events, state
from tests.testapp.protected import bound, deadly
from tests.workers import wait_until

HARD: dict[str, Any] = {"time_limit": 1, "soft_time_limit": 0}


@pytest.fixture(scope="module", autouse=True)
def worker(each_site: Site) -> None:
    limits = {"CELERY_TASK_SOFT_TIME_LIMIT": "0", "CELERY_TASK_ACKS_ON_TIMEOUT": "False"}
    each_site.start(2, environment=limits)


def test_the_next_delivery_takes_over(each_site: Site, key: str) -> None:
    each_site.publish(bound, key, faults=[{"at": "body", "do": "hang"}], **HARD)

    wait_until(lambda: effects(key) == ["attempt 2"])
    wait_until(lambda: state(bound, key) == "completed")
    assert events(bound, key)[0][1] == 1


def test_what_is_killed_again_and_again_is_held(each_site: Site, key: str) -> None:
    hanging = [{"at": "body", "do": "hang", "attempts": [1, 2, 3]}]
    each_site.publish(deadly, key, faults=hanging, **HARD)

    wait_until(lambda: state(deadly, key) == "held")
    assert effects(key) == []
